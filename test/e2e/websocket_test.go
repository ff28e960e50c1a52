package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
)

// webSocketServer sends back what it gets.
func webSocketServer(port string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: websocket.Handler(func(ws *websocket.Conn) {
		for {
			var text string
			if websocket.Message.Receive(ws, &text) != nil {
				return
			}
			if websocket.Message.Send(ws, "echo "+text) != nil {
				return
			}
		}
	})}
	return s.Serve(ln)
}

// webSocketClient exchanges short and long messages, then closes.
func webSocketClient(url string) error {
	ws, err := websocket.Dial(url, "", "http://load/")
	if err != nil {
		return err
	}
	_ = ws.SetDeadline(time.Now().Add(10 * time.Second))
	for i := range 100 {
		text := strings.Repeat(fmt.Sprint(i), 1+i*100)
		if err := websocket.Message.Send(ws, text); err != nil {
			return err
		}
		var back string
		if err := websocket.Message.Receive(ws, &back); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
		if back != "echo "+text {
			return fmt.Errorf("message %d came back as %d bytes, want %d", i, len(back), len(text)+5)
		}
	}
	fmt.Println("all well")
	return ws.Close()
}

func TestWebSocket(t *testing.T) {
	for _, protocol := range []string{"/http", ""} {
		t.Run("protocol "+protocol, func(t *testing.T) {
			m := newMesh(t)
			port := fmt.Sprint(freePort(t))
			m.actor("ws-server", port, nil, "--service", "chat", "--port", "80:"+port+protocol)
			m.ready("chat", 1)
			c := m.join("ws-client", "ws://chat/room")
			if c.out.String() != "all well\n" {
				t.Fatalf("%s%s", c.out.String(), c.err.String())
			}
		})
	}
}
