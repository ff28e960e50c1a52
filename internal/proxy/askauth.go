package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/envoyrpc"
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

// Requests that an authorization service has to allow (Gateway API, HTTPExternalAuthFilter): that of the rule, then that of
// the backend. It is asked after the preflights of CORS have been answered and before anything else; without its answer no request goes on.

const kindAuth = "auth"

// authorize asks the service of the rule's filter.
func (x *exchange) authorize(a *model.ExternalAuth) *Failure {
	if a.Invalid != "" { // a filter that cannot run must not be skipped (Gateway API, HTTPRouteRule.filters)
		return &Failure{"route", 500, flagBadBackend, fmt.Errorf("%s: its authorization service: %s", x.rule.Ref, a.Invalid)}
	}
	if a.MaxBody > 0 && x.req.Protocol == "" && x.req.Method != "CONNECT" {
		if f := x.collect(a.MaxBody); f != nil {
			return f
		}
	}
	svc := x.w.config.byName[a.Service]
	if svc == nil {
		return x.unauthorized(a, errNoService)
	}
	q := &inquiry{}
	if a.GRPC {
		q.callGRPC(a.Service.Name+"."+a.Service.Namespace, envoyrpc.CheckPath, x.checkRequest(a).Append(nil))
	} else {
		x.checkByHTTP(q, a)
	}
	patience := model.AuthTimeout
	if x.plan != nil && x.plan.auth > 0 {
		patience = x.plan.auth
	}
	if f := x.ask(q, svc, a.Port, patience); f != nil {
		return f
	}
	if a.GRPC {
		return x.judgeGRPC(q, a)
	}
	return x.judgeHTTP(q, a)
}

// unauthorized refuses a request that the service said nothing about.
func (x *exchange) unauthorized(a *model.ExternalAuth, err error) *Failure {
	x.asked(kindAuth, a.Service, x.rule.Ref.String(), resultUnanswered)
	x.unanswered(kindAuth, x.rule.Ref.String(), a.Service, err, "refused")
	return &Failure{"route", 503, flagUnchecked, fmt.Errorf("%s did not say whether the request may go on: %w", a.Service, err)}
}

// denied refuses a request in the service's words.
func (x *exchange) denied(a *model.ExternalAuth, status int, body []byte, why string) *Failure {
	x.asked(kindAuth, a.Service, x.rule.Ref.String(), resultDenied)
	x.tell(nil)
	if body == nil {
		body = []byte{}
	}
	x.verdict.body = body
	return &Failure{"route", status, flagDenied, fmt.Errorf("%s denies the request%s", a.Service, why)}
}

// collectPatience is how long a client has for the content that is collected.
const collectPatience = 30 * time.Second

// collect takes the content of the request into replay, from where forward sends it: all of it, or the request is refused.
func (x *exchange) collect(most int) (f *Failure) {
	tooLarge := &Failure{"read", 413, flagDenied, fmt.Errorf("the content has more than %d bytes, the most that its authorization service is shown", most)}
	if x.req.Length > int64(most) || len(x.replay) > most {
		return tooLarge
	}
	if x.collected { // for the rule's service, and now for the backend's
		return nil
	}
	defer func() { x.collected = f == nil }()
	if strings.EqualFold(x.req.Get("expect"), "100-continue") {
		// Who is to send the content waits for a word (RFC 9110, section 10.1.1), and nobody else is asked yet.
		x.req.Del("expect")
		h := &message.Head{Status: 100, Length: message.Unknown}
		if err := x.down.SendHead(h, false); err != nil {
			return x.clientFailure(err)
		}
	}
	slow := false
	x.collecting = true
	x.w.loop.AfterFunc(&x.pause, collectPatience, func() { slow = true; x.down.StopReceiving() })
	defer func() { x.collecting = false; x.pause.Stop() }()
	for !x.down.Done() {
		p, err := x.down.Data()
		switch {
		case err == io.EOF:
			return nil // trailers follow, which upload finds
		case x.late:
			return x.timeoutFailure()
		case slow:
			return &Failure{"read", 408, flagBadRequest, errors.New("the content did not come in time to be shown to the authorization service")}
		case err != nil:
			return x.clientFailure(err)
		case len(x.replay)+len(p) > most:
			return tooLarge
		}
		x.rec.RequestBytes += uint64(len(p))
		x.replay = append(x.replay, p...)
	}
	x.sentAll = true
	return nil
}

// shown reports whether the service is told of a header.
func shown(a *model.ExternalAuth, name string) bool {
	if strings.HasPrefix(name, "weft-") {
		return false // between proxies
	}
	return a.GRPC && len(a.Request) == 0 || slices.Contains(a.Request, name)
}

// shownContent is what the service is told of the content, of which another may have been told more.
func (x *exchange) shownContent(a *model.ExternalAuth) []byte {
	if a.MaxBody == 0 {
		return nil
	}
	return x.replay
}

func (x *exchange) checkRequest(a *model.ExternalAuth) *envoyrpc.CheckRequest {
	r := &envoyrpc.CheckRequest{
		Time: x.rec.Start, ID: x.rec.RequestID, Source: x.o.remote, Principal: x.caller(),
		Method: x.req.Method, Path: x.req.Path, Host: x.req.Authority, Scheme: x.scheme(), Protocol: "HTTP/1.1",
		Size: x.req.Length, Body: x.shownContent(a),
	}
	if x.down.HTTP2() {
		r.Protocol = "HTTP/2"
	}
	if r.Size < 0 && (x.sentAll || x.down.Done()) { // all of it is here
		r.Size = int64(len(x.replay))
	}
	for _, f := range x.req.Fields {
		if shown(a, f.Name) {
			r.Headers = append(r.Headers, envoyrpc.Header{Name: f.Name, Value: f.Value})
		}
	}
	return r
}

// checkByHTTP makes q a request like the one it is about, without the content that it is not to be shown.
func (x *exchange) checkByHTTP(q *inquiry, a *model.ExternalAuth) {
	h := &q.head
	h.CopyFrom(x.req)
	kept := h.Fields[:0]
	for _, f := range h.Fields {
		if f.Name == "authorization" || shown(a, f.Name) {
			kept = append(kept, f)
		}
	}
	h.Fields, h.Protocol, h.Length = kept, "", int64(len(x.shownContent(a)))
	h.Del("expect")
	if h.Method == "CONNECT" { // of a protocol to switch to
		h.Method = "GET"
	}
	h.Path = a.Path + h.Path
	h.Scheme = "http"
	q.feed(x.shownContent(a), true)
}

func (x *exchange) judgeHTTP(q *inquiry, a *model.ExternalAuth) *Failure {
	if q.failed != nil {
		return x.unauthorized(a, q.failed)
	}
	if q.status != 200 {
		var fields []message.Field
		for _, f := range q.fields {
			if f, ok := fieldOf(envoyrpc.Header{Name: f.Name, Value: f.Value}); ok {
				fields = append(fields, f)
			}
		}
		x.tell(fields)
		return x.denied(a, q.status, q.content, "")
	}
	x.asked(kindAuth, a.Service, x.rule.Ref.String(), resultAllowed)
	for i, f := range q.fields {
		f, ok := fieldOf(envoyrpc.Header{Name: f.Name, Value: f.Value})
		if !ok || !passedOn(a, f.Name) {
			continue
		}
		if first := slices.IndexFunc(q.fields, func(g message.Field) bool { return g.Name == f.Name }); first < i {
			x.req.Add(f.Name, f.Value)
		} else {
			x.req.Set(f.Name, f.Value)
		}
	}
	return nil
}

// passedOn reports whether the backend is told of a header of the service's answer. Those that are of the answer itself
// would be wrong of the request.
func passedOn(a *model.ExternalAuth, name string) bool {
	if len(a.Response) > 0 {
		return slices.Contains(a.Response, name)
	}
	return !strings.HasPrefix(name, "content-") && name != "date" && name != "server" && name != "set-cookie"
}

func (x *exchange) judgeGRPC(q *inquiry, a *model.ExternalAuth) *Failure {
	b, err := q.reply()
	if err != nil {
		return x.unauthorized(a, err)
	}
	r, err := envoyrpc.ParseCheckResponse(b)
	switch {
	case err != nil:
		return x.unauthorized(a, err)
	case r.Failed:
		return x.unauthorized(a, fmt.Errorf("it says that it failed, with gRPC status %d %q", r.Code, clippedText(r.Message)))
	case r.Code != 0:
		status := r.Status
		if status < 200 || status > 599 {
			status = 403
		}
		for _, h := range r.Headers {
			if f, ok := fieldOf(h.Header); ok {
				x.tell([]message.Field{f})
			}
		}
		return x.denied(a, status, []byte(r.Body), fmt.Sprintf(": %q", clippedText(r.Message)))
	}
	x.asked(kindAuth, a.Service, x.rule.Ref.String(), resultAllowed)
	x.permit(r)
	return nil
}

// permit changes the request as the service asks.
func (x *exchange) permit(r *envoyrpc.CheckResponse) {
	for _, name := range r.Remove {
		if f, ok := fieldOf(envoyrpc.Header{Name: name}); ok {
			x.req.Del(f.Name)
		}
	}
	for _, h := range r.Headers {
		if f, ok := fieldOf(h.Header); ok {
			write(x.req, f, h.Action)
		}
	}
	for _, h := range r.Response {
		if f, ok := fieldOf(h.Header); ok {
			x.tell(nil)
			x.verdict.options = append(x.verdict.options, written{f, h.Action})
		}
	}
	if len(r.SetQuery)+len(r.RemoveParams) > 0 {
		x.req.Path = changedQuery(x.req.Path, r)
	}
}

// written is a field with how it is written.
type written struct {
	message.Field
	action envoyrpc.HeaderAction
}

// write changes a head by a field (envoy.config.core.v3.HeaderValueOption).
func write(h *message.Head, f message.Field, action envoyrpc.HeaderAction) {
	_, there := h.Lookup(f.Name)
	switch {
	case action == envoyrpc.AddIfAbsent && there, action == envoyrpc.OverwriteIfExists && !there:
	case action == envoyrpc.AppendOrAdd:
		h.Add(f.Name, f.Value)
	default:
		h.Set(f.Name, f.Value)
	}
}

// changedQuery returns a path with the parameters of its query changed. What is not changed stays as it is written.
func changedQuery(path string, r *envoyrpc.CheckResponse) string {
	path, query, _ := strings.Cut(path, "?")
	var out []string
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		set := slices.ContainsFunc(r.SetQuery, func(p envoyrpc.Parameter) bool { return p.Key == name })
		if part != "" && !set && !slices.Contains(r.RemoveParams, name) {
			out = append(out, part)
		}
	}
	for _, p := range r.SetQuery {
		out = append(out, url.QueryEscape(p.Key)+"="+url.QueryEscape(p.Value))
	}
	if len(out) == 0 {
		return path
	}
	return path + "?" + strings.Join(out, "&")
}

// clippedText bounds what a message quotes of a service.
func clippedText(s string) string { return s[:min(len(s), 200)] }
