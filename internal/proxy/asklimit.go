package proxy

import (
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/internal/envoyrpc"
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

// Rate limits that a service decides on (model.LimitService): asked after the limits that are counted here, so that what
// these refuse is not counted there.

// limitQuestion is a question about one limit that is on its way, or why it could not be asked.
type limitQuestion struct {
	*limit
	inquiry inquiry
	service *service // nil: err says why nobody could be asked
	err     error
}

// askLimits has rate-limit services decide on a request, all at the same time. The first that refuses decides, and the
// others' answers are not waited for.
func (x *exchange) askLimits(p *plan) *Failure {
	var all []*limitQuestion
	for _, l := range p.asks {
		if l.matches != nil {
			if _, _, ok := l.matches.Match(x.req, x.port); !ok {
				continue
			}
		}
		if q := x.beginLimit(l); q != nil {
			all = append(all, q)
		}
	}
	return x.judgeLimits(all)
}

const kindLimit = "ratelimit"

// beginLimit asks about a limit; nil when the request has nothing to be asked about.
func (x *exchange) beginLimit(l *limit) *limitQuestion {
	s := l.Service
	r := envoyrpc.RateLimitRequest{Domain: s.Domain, Descriptors: x.descriptors(s), Hits: max(s.Hits, 1)}
	if len(r.Descriptors) == 0 {
		x.asked(kindLimit, s.Service, l.Name, resultUnasked)
		return nil
	}
	q := &limitQuestion{limit: l}
	switch svc := x.w.config.byName[s.Service]; {
	case s.Invalid != "":
		q.err = errors.New(s.Invalid)
	case svc == nil:
		q.err = errNoService
	default:
		q.service = svc
		q.inquiry.callGRPC(s.Service.Name+"."+s.Service.Namespace, envoyrpc.ShouldRateLimit, r.Append(nil))
		x.begin(&q.inquiry, svc, s.Port, s.Patience())
	}
	return q
}

// judgeLimits takes the answers as they come. When one of them, or the request's own end, decides, the other questions
// are given up.
func (x *exchange) judgeLimits(all []*limitQuestion) (f *Failure) {
	for f == nil && len(all) > 0 {
		waiting := all[:0]
		for i, q := range all {
			if f != nil || q.service != nil && !q.inquiry.done && !x.gone && !x.late {
				waiting = append(waiting, all[i])
				continue
			}
			f = x.judgeLimit(q)
		}
		if all = waiting; f == nil && len(all) > 0 {
			x.parkFor()
		}
	}
	for _, q := range all {
		if q.service != nil && !q.inquiry.done {
			q.inquiry.waiting = nil
			q.inquiry.x.onClientGone()
		}
	}
	return f
}

// judgeLimit acts by one answer, or by there being none.
func (x *exchange) judgeLimit(q *limitQuestion) *Failure {
	s, l := q.Service, q.limit
	answer, f, err := x.limitAnswer(q)
	switch {
	case f != nil:
		return f
	case err != nil && s.FailClosed:
		x.asked(kindLimit, s.Service, l.Name, resultUnanswered)
		x.unanswered(kindLimit, l.Name, s.Service, err, "refused")
		return &Failure{"route", 503, flagUnchecked, fmt.Errorf("the rate limit %q could not be asked of %s: %w", l.Name, s.Service, err)}
	case err != nil:
		x.asked(kindLimit, s.Service, l.Name, resultUnanswered)
		x.unanswered(kindLimit, l.Name, s.Service, err, "let pass")
		return nil
	}
	if fields := fieldsOf(answer.Response); len(fields) > 0 || len(answer.Body) > 0 {
		x.tell(fields)
	}
	if answer.Code == envoyrpc.RateLimitOK {
		x.asked(kindLimit, s.Service, l.Name, resultAllowed)
		for _, f := range fieldsOf(answer.Request) {
			x.req.Add(f.Name, f.Value)
		}
		return nil
	}
	x.asked(kindLimit, s.Service, l.Name, resultDenied)
	if len(answer.Body) > 0 {
		x.verdict.body = answer.Body
	}
	x.retryAfter = answer.Reset
	return &Failure{"route", l.refusal(), flagRateLimit, fmt.Errorf("the rate limit %q is reached, says %s", l.Name, s.Service)}
}

// tell keeps fields for the answer, besides what is kept already.
func (x *exchange) tell(fields []message.Field) {
	if x.verdict == nil {
		x.verdict = &verdict{}
	}
	x.verdict.fields = append(x.verdict.fields, fields...)
}

// refusal is the status of what is over the limit.
func (l *limit) refusal() int {
	if l.Status != 0 {
		return l.Status
	}
	return 429
}

// limitAnswer is what a service answered. The error says why there is no answer, the failure that the request itself is over.
func (x *exchange) limitAnswer(q *limitQuestion) (*envoyrpc.RateLimitResponse, *Failure, error) {
	if q.service == nil {
		return nil, nil, q.err
	}
	if f := x.heard(&q.inquiry, q.service); f != nil {
		return nil, f, nil
	}
	b, err := q.inquiry.reply()
	if err != nil {
		return nil, nil, err
	}
	answer, err := envoyrpc.ParseRateLimitResponse(b)
	if err == nil && answer.Code != envoyrpc.RateLimitOK && answer.Code != envoyrpc.RateLimitOverLimit {
		err = fmt.Errorf("it answered code %d, which is neither OK nor OVER_LIMIT", answer.Code)
	}
	return answer, nil, err
}

// descriptors are those that the request has all values for.
func (x *exchange) descriptors(s *model.LimitService) [][]envoyrpc.Entry {
	var out [][]envoyrpc.Entry
	for i := range s.Descriptors {
		if d := x.descriptor(s.Descriptors[i].Entries); len(d) > 0 {
			out = append(out, d)
		}
	}
	return out
}

func (x *exchange) descriptor(entries []model.LimitEntry) []envoyrpc.Entry {
	out := make([]envoyrpc.Entry, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		value := e.Value
		switch {
		case e.Header == "host":
			value = x.req.Authority
		case e.Header != "":
			value = x.req.Get(e.Header)
		case e.Path:
			value = x.req.PathOnly()
		case e.Method:
			value = x.req.Method
		case e.Identity:
			value = x.caller()
		case e.Source:
			value = x.o.remote.Addr().Unmap().String()
		}
		switch {
		case value != "":
			out = append(out, envoyrpc.Entry{Key: e.Key, Value: value})
		case !e.Optional:
			return nil
		}
	}
	return out
}

// caller is the SPIFFE ID of who makes the request: the peer's, as it has proven, or our own workload's; "" if neither.
func (x *exchange) caller() string {
	switch x.o.kind {
	case fromCapture, fromExplicit, fromUpstream:
		return x.w.config.self
	}
	return x.o.peerID
}
