package xds

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

const (
	maxQuestions = 8   // that wait for one proxy
	maxAsked     = 100 // services in a question
)

// Errors of Ask.
var (
	ErrNotConnected = errors.New("the proxy is not connected to this control plane")
	ErrBusy         = errors.New("too many questions wait for the proxy: try again in a moment")
)

// Ask asks a connected proxy what it has learnt about the endpoints of services, and waits for its answer until ctx
// ends. It is no part of the configuration: nothing is acknowledged, and a proxy that is applying a snapshot answers
// when it has.
func (s *Server) Ask(ctx context.Context, proxy string, services []model.ServiceName) ([]*discoveryv1.PoolState, error) {
	if len(services) > maxAsked {
		return nil, fmt.Errorf("%d services; at most %d are allowed in a question", len(services), maxAsked)
	}
	q := &discoveryv1.Question{}
	for _, n := range services {
		q.Services = append(q.Services, n.String())
	}
	answer := make(chan *discoveryv1.Answer, 1)
	st, err := s.put(proxy, q, answer)
	if err != nil {
		return nil, err
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(st.asked, q.GetId())
	}()
	select {
	case a := <-answer:
		return a.GetPools(), nil
	case <-st.gone:
		return nil, ErrNotConnected
	case <-ctx.Done():
		return nil, fmt.Errorf("the proxy did not answer in time (one of an older version never does): %w", ctx.Err())
	}
}

// put gives a question to the stream of a proxy.
func (s *Server) put(proxy string, q *discoveryv1.Question, answer chan *discoveryv1.Answer) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[proxy]
	if st == nil {
		return nil, ErrNotConnected
	}
	if len(st.asked) >= maxQuestions {
		return nil, ErrBusy
	}
	st.questions++
	q.Id = strconv.FormatUint(st.questions, 36)
	resp := &discoveryv1.DeltaResponse{Revision: st.acked, Questions: []*discoveryv1.Question{q}}
	select {
	case st.ask <- resp:
	default:
		return nil, ErrBusy
	}
	st.asked[q.GetId()] = answer
	return st, nil
}

// answered passes a proxy's answers on to those who asked. The server's lock is held.
func (st *stream) answered(answers []*discoveryv1.Answer) {
	for _, a := range answers {
		if to := st.asked[a.GetId()]; to != nil {
			delete(st.asked, a.GetId())
			to <- a // has room: one answer for each question
		}
	}
}

// answer answers the questions of a response.
func (c *Client) answer(questions []*discoveryv1.Question) []*discoveryv1.Answer {
	var out []*discoveryv1.Answer
	for _, q := range questions[:min(len(questions), maxQuestions)] {
		a := &discoveryv1.Answer{Id: q.GetId()}
		var services []model.ServiceName
		for _, text := range q.GetServices()[:min(len(q.GetServices()), maxAsked)] {
			var n model.ServiceName
			if n.UnmarshalText([]byte(text)) == nil && !n.IsZero() {
				services = append(services, n)
			}
		}
		if c.o.Conditions != nil {
			a.Pools = c.o.Conditions(services)
		}
		out = append(out, a)
	}
	return out
}
