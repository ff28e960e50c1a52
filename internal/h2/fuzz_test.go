package h2

import "testing"

func fuzzReceive(f *testing.F, cfg Config) {
	start := rawFrame(typeSettings, 0, 0)
	if !cfg.Client {
		start = append([]byte(clientPreface), start...)
	}
	for _, seed := range [][]byte{
		get(flagEndStream, 1), append(get(0, 1), rawFrame(typeData, flagEndStream, 1, 1, 2)...),
		rawHeaders(flagEndStream, 1, ":status", "200"), rawFrame(typeHeaders, 0, 1, 0x82),
		rawFrame(typeSettings, 0, 0, setting(settingInitialWindow, 7)...), rawFrame(typeGoAway, 0, 0, make([]byte, 8)...),
		rawFrame(typeRSTStream, 0, 1, u32(8)...), rawFrame(typeWindowUpdate, 0, 1, u32(9)...),
	} {
		f.Add(seed, 7)
	}
	f.Fuzz(func(t *testing.T, p []byte, step int) {
		s := newSide(t, cfg)
		_ = s.c.Receive(start)
		if cfg.Client {
			st, err := s.c.Open(nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = s.c.SendHead(st, grpcHead(), false)
		}
		step = max(1, step%97)
		for n := len(p); len(p) > 0; p = p[min(step, len(p)):] {
			if s.c.Receive(p[:min(step, len(p))]) != nil {
				break
			}
			if len(s.c.in) > frameHeader+minMaxFrame || len(s.c.block.data) > 2*s.c.cfg.HeadBytes {
				t.Fatalf("holds %d and %d bytes", len(s.c.in), len(s.c.block.data))
			}
			if len(s.c.Output()) > 4096+4*n {
				t.Fatalf("%d bytes of output for %d of input", len(s.c.Output()), n)
			}
		}
		s.c.Close()
		if s.c.Streams() != 0 || s.c.peerOpen != 0 || s.c.ourOpen != 0 {
			t.Fatal("streams outlive the connection")
		}
	})
}

// FuzzReceiveServer feeds a server what a client might send.
func FuzzReceiveServer(f *testing.F) {
	fuzzReceive(f, Config{HeadBytes: 8 << 10, ExtendedConnect: true})
}

// FuzzReceiveClient feeds a client what a server might send.
func FuzzReceiveClient(f *testing.F) { fuzzReceive(f, Config{Client: true, HeadBytes: 8 << 10}) }
