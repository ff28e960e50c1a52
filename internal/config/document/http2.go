package document

// HTTP2Errors are the names of the codes that a stream can be reset by, NO_ERROR left out (RFC 9113, section 7).
func HTTP2Errors() []string {
	return []string{
		"PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
		"REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY",
		"HTTP_1_1_REQUIRED",
	}
}

// HTTP2Error returns the code of a name; 0 when there is no such name.
func HTTP2Error(name string) uint32 {
	for i, known := range HTTP2Errors() {
		if name == known {
			return uint32(i) + 1
		}
	}
	return 0
}
