package xds

import (
	"context"
	"errors"
	"testing"
	"time"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// TestAsk asks a proxy for what it knows of endpoints, which is neither a configuration nor an answer to one.
func TestAsk(t *testing.T) {
	b := newBench(t)
	b.server.Publish(mesh(1, map[string]string{"web": ""}))
	b.wait(1)
	if !b.lookup("web") {
		t.Fatal("there is no web")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	applied := len(b.applied)
	for range 3 * maxQuestions {
		pools, err := b.server.Ask(ctx, "load-1", []model.ServiceName{svc("web"), svc("api")})
		if err != nil {
			t.Fatal(err)
		}
		if len(pools) != 2 || pools[0].GetService() != "default/web" || pools[1].GetService() != "default/api" {
			t.Fatalf("%v", pools)
		}
	}
	b.mu.Lock()
	if len(b.applied) != applied {
		t.Errorf("questions made the proxy apply %d snapshots", len(b.applied)-applied)
	}
	b.mu.Unlock()
	if r := b.wait(1); r.Current != 1 {
		t.Errorf("after questions: %+v", r)
	}
	if _, err := b.server.Ask(ctx, "nobody", nil); !errors.Is(err, ErrNotConnected) {
		t.Errorf("a proxy that is not there: %v", err)
	}
	if _, err := b.server.Ask(ctx, "load-1", make([]model.ServiceName, maxAsked+1)); err == nil {
		t.Error("too many services are taken")
	}
}

// TestAskOfASilentProxy has questions end: with their context, and with the stream; and bounds how many wait.
func TestAskOfASilentProxy(t *testing.T) {
	b := newBench(t)
	hold := make(chan struct{})
	b.silence(hold)
	defer close(hold)
	b.server.Publish(mesh(1, nil))
	<-b.client.Ready()
	ended := make(chan error, maxQuestions)
	ctx, cancel := context.WithCancel(t.Context())
	for range maxQuestions {
		go func() {
			for {
				if _, err := b.server.Ask(ctx, "load-1", nil); !errors.Is(err, ErrBusy) {
					ended <- err
					return
				}
				if ctx.Err() != nil {
					ended <- ctx.Err()
					return
				}
			}
		}()
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		short, done := context.WithTimeout(t.Context(), time.Millisecond)
		_, err := b.server.Ask(short, "load-1", nil)
		done()
		if errors.Is(err, ErrBusy) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("as many questions as may wait do, and one more gives %v", err)
		}
	}
	cancel()
	for range maxQuestions {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
}

// silence makes the client answer no question until hold is closed.
func (b *bench) silence(hold chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hold = hold
}

func (b *bench) conditions(services []model.ServiceName) (out []*discoveryv1.PoolState) {
	b.mu.Lock()
	hold := b.hold
	b.mu.Unlock()
	if hold != nil {
		<-hold
	}
	for _, n := range services {
		out = append(out, &discoveryv1.PoolState{Service: n.String()})
	}
	return out
}
