package proxy

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"reflect"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

// Health checks ask endpoints whether they serve, over the same connections as requests. The engine's first loop
// asks; all loops hear of the result.

const (
	checkInterval  = 10 * time.Second
	checkTimeout   = time.Second
	checkHealthy   = 2
	checkUnhealthy = 3
)

// checker asks one endpoint, again and again.
type checker struct {
	ep    *endpoint
	m     *model.HealthCheck
	port  uint16 // of the service
	inRow int    // good answers while it is sick, bad ones while it is well
	timer loop.Timer
	ended bool
}

// check makes an endpoint's health be looked at as a policy says; nil ends it.
func (ep *endpoint) check(m *model.HealthCheck, port uint16) {
	if ep.w != ep.w.e.workers[0] {
		return
	}
	if c := ep.checker; c != nil {
		if m != nil && c.port == port && reflect.DeepEqual(c.m, m) {
			return
		}
		c.ended = true
		c.timer.Stop()
		ep.checker = nil
		if ep.sick {
			ep.tellHealth(false)
		}
	}
	if m != nil {
		ep.checker = &checker{ep: ep, m: m, port: port}
		// Soon, but not all endpoints of a service at once.
		ep.checker.again(time.Duration(ep.w.random.Uint64() % uint64(min(checkTimeout, cmp.Or(m.Interval, checkInterval)))))
	}
}

func (c *checker) again(after time.Duration) {
	c.ep.w.loop.AfterFunc(&c.timer, after, func() { c.ep.w.loop.Go(c.run) })
}

// run asks once and arms the next.
func (c *checker) run() {
	if c.ended || c.ep.left {
		return
	}
	err := c.ask()
	if c.ended {
		return
	}
	if c.inRow++; (err == nil) != c.ep.sick {
		c.inRow = 0 // as before
	}
	most := cmp.Or(c.m.Unhealthy, checkUnhealthy)
	if c.ep.sick {
		most = cmp.Or(c.m.Healthy, checkHealthy)
	}
	if c.inRow >= most {
		c.inRow = 0
		c.ep.tellHealth(err != nil)
		if err != nil {
			c.ep.w.log.Warn("endpoint fails its health checks", "endpoint", c.ep.model.ID, "error", err)
		} else {
			c.ep.w.log.Info("endpoint passes its health checks again", "endpoint", c.ep.model.ID)
		}
	}
	// A tenth more or less, so that proxies do not ask together.
	every := cmp.Or(c.m.Interval, checkInterval)
	c.again(every*9/10 + time.Duration(c.ep.w.random.Uint64()%uint64(every/5+1)))
}

// tellHealth makes every loop know.
func (ep *endpoint) tellHealth(sick bool) {
	key := ep.key
	key.own = ""
	ep.w.setHealth(key, sick)
	for _, w := range ep.w.e.workers {
		if w != ep.w {
			w.loop.Post(func() { w.setHealth(key, sick) })
		}
	}
}

// setHealth notes it of an endpoint, by whatever connections it is reached.
func (w *worker) setHealth(key endpointKey, sick bool) {
	for k, ep := range w.endpoints {
		if k.own = ""; k == key {
			ep.sick = sick
		}
	}
	for _, set := range w.sets {
		if set.chooser != nil {
			set.chooser.Invalidate()
		}
	}
}

// ask asks once. An error says what is wrong.
func (c *checker) ask() error {
	timeout := cmp.Or(c.m.Timeout, checkTimeout)
	if c.m.Type == model.HealthUDP {
		return c.askUDP(timeout)
	}
	if c.m.Type == model.HealthTCP {
		raw, err := c.ep.w.loop.Dial(c.ep.model.Address, timeout)
		if err == nil {
			_ = raw.Close()
		}
		return err
	}
	q := &question{}
	q.head.Reset()
	q.head.Method, q.head.Scheme, q.head.Path = "GET", "http", cmp.Or(c.m.Path, "/")
	q.head.Authority = cmp.Or(c.m.Host, c.ep.model.Address.String())
	q.head.Add("user-agent", "weft-health")
	if c.m.Type == model.HealthGRPC {
		q.http2 = true
		q.grpc(c.m.Service)
	}
	q.ended = true
	w := c.ep.w
	x := w.newExchange(&origin{kind: fromChecker}, q)
	q.x, x.req, x.fixed, x.tport, x.port = x, &q.head, c.ep, c.port, c.port
	x.startTimeout(timeout)
	x.serve()
	failed := x.failed
	w.freeExchange(x)
	if failed != nil {
		return failed
	}
	return q.judge(c.m)
}

// question is the client's side of a check.
type question struct {
	shadow
	status     int
	grpcStatus string
	content    []byte
}

// grpc makes it a call of grpc.health.v1.Health/Check.
func (q *question) grpc(service string) {
	q.head.Method, q.head.Path = "POST", "/grpc.health.v1.Health/Check"
	q.head.Add("content-type", grpcPrefix)
	q.head.Add("te", "trailers")
	var request []byte
	if service != "" {
		request = append(binary.AppendUvarint([]byte{0x0a}, uint64(len(service))), service...) // field 1, a string
	}
	q.feed(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(request))), request...), true)
}

func (q *question) SendHead(h *message.Head, _ bool) error {
	q.status, q.grpcStatus = h.Status, h.Get("grpc-status")
	return nil
}

func (q *question) SendData(p []byte, _ bool) error {
	const most = 64
	q.content = append(q.content, p[:min(len(p), most-min(most, len(q.content)))]...)
	return nil
}

func (q *question) SendTrailers(t []message.Field) error {
	for _, f := range t {
		if f.Name == "grpc-status" {
			q.grpcStatus = string(append([]byte(nil), f.Value...))
		}
	}
	return nil
}

// judge decides by the answer.
func (q *question) judge(m *model.HealthCheck) error {
	if m.Type == model.HealthGRPC {
		// A message of HealthCheckResponse{status: SERVING}.
		if q.grpcStatus != "0" || string(q.content) != "\x00\x00\x00\x00\x02\x08\x01" {
			return fmt.Errorf("gRPC status %q, not SERVING", q.grpcStatus)
		}
		return nil
	}
	for _, r := range m.Codes {
		if q.status >= r.From && q.status <= r.To {
			return nil
		}
	}
	if len(m.Codes) == 0 && q.status/100 == 2 {
		return nil
	}
	return fmt.Errorf("status %d", q.status)
}
