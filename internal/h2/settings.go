package h2

import (
	"encoding/binary"
)

// maxSettings bounds the settings of one frame: each change of the initial window visits every stream.
const maxSettings = 64

// unlimitedStreams is how many streams we open at once to a peer that sets no limit.
const unlimitedStreams = 1000

// sendSettings queues our SETTINGS.
func (c *Conn) sendSettings() {
	at := len(c.out)
	c.out = appendHeader(c.out, 0, typeSettings, 0, 0)
	set := func(id uint16, v uint32) {
		c.out = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(c.out, id), v)
	}
	if c.cfg.Client {
		set(settingEnablePush, 0)
	} else {
		set(settingMaxStreams, c.cfg.MaxStreams)
		if c.cfg.ExtendedConnect {
			set(settingExtendedConnect, 1)
		}
	}
	set(settingInitialWindow, c.cfg.StreamWindow)
	set(settingMaxHeaderList, uint32(c.cfg.HeadBytes))
	n := len(c.out) - at - frameHeader
	c.out[at+2] = byte(n)
	c.acks++
}

func (c *Conn) onSettings(id uint32, flags byte, p []byte) error {
	switch {
	case id != 0:
		return c.fail(ErrCodeProtocol, "SETTINGS on a stream")
	case flags&flagAck != 0 && len(p) != 0:
		return c.fail(ErrCodeFrameSize, "SETTINGS acknowledgement with content")
	case flags&flagAck != 0 && c.acks > 0:
		c.acks--
		return nil
	case flags&flagAck != 0:
		return c.spend(costPing, "too many SETTINGS acknowledgements")
	case len(p)%6 != 0:
		return c.fail(ErrCodeFrameSize, "SETTINGS that is no multiple of 6 bytes long")
	case len(p) > 6*maxSettings:
		return c.fail(ErrCodeEnhanceYourCalm, "too many settings in one frame")
	}
	if err := c.spend(costSettings, "too many SETTINGS frames"); err != nil {
		return err
	}
	if !c.peer.settled {
		// Without a limit of the peer's our own holds (section 6.5.2: initially there is none).
		c.peer.settled, c.peer.maxStreams = true, unlimitedStreams
	}
	for ; len(p) > 0; p = p[6:] {
		if err := c.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	c.out = appendHeader(c.out, 0, typeSettings, flagAck, 0)
	c.ev.OnSettings()
	c.unblock()
	return c.queued(frameHeader)
}

func (c *Conn) setting(id uint16, v uint32) error {
	switch id {
	case settingHeaderTableSize:
		// Never more than our own bound, whatever the peer offers.
		c.enc.SetMaxTable(v)
	case settingEnablePush:
		if v > 1 || c.cfg.Client && v != 0 {
			return c.fail(ErrCodeProtocol, "SETTINGS_ENABLE_PUSH is not allowed to be that")
		}
	case settingMaxStreams:
		c.peer.maxStreams = v
	case settingInitialWindow:
		if v > maxWindow {
			return c.fail(ErrCodeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE over 2^31-1")
		}
		diff := int64(v) - c.peer.window
		c.peer.window = int64(v)
		for _, s := range c.streams {
			if s.sendWindow += diff; s.sendWindow > maxWindow {
				return c.fail(ErrCodeFlowControl, "SETTINGS_INITIAL_WINDOW_SIZE makes a window overflow")
			}
		}
	case settingMaxFrame:
		if v < minMaxFrame || v > maxMaxFrame {
			return c.fail(ErrCodeProtocol, "SETTINGS_MAX_FRAME_SIZE out of range")
		}
		// Larger frames would let one stream hold the connection for longer.
		c.peer.frame = minMaxFrame
	case settingExtendedConnect:
		if v > 1 || v == 0 && c.peer.extended {
			return c.fail(ErrCodeProtocol, "SETTINGS_ENABLE_CONNECT_PROTOCOL is not allowed to be that")
		}
		c.peer.extended = v == 1
	}
	return nil
}

// ExtendedConnect reports whether the peer allows RFC 8441.
func (c *Conn) ExtendedConnect() bool { return c.peer.extended }
