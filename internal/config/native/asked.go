package native

import (
	"fmt"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// The scopes of rate limits: who counts.
const (
	scopeLocal   = "local"
	scopeGlobal  = "global"
	scopeService = "service"
)

// Bounds of limits that a service decides on.
const (
	maxHits        = 1_000_000
	maxAskTimeout  = 10 * time.Second
	maxDescriptors = 16 // and entries of each
	maxDomain      = 256
	maxEntry       = 1024 // bytes of a key or value
)

// askedLimit reads a rate limit that a service decides on. What would say how to count is the service's to know.
func (c *checker) askedLimit(r *rateLimit, f *document.Field) model.RateLimit {
	for _, name := range []string{"requests", "per", "burst", "key"} {
		if at := f.Key(name); c.doc.Has(at) {
			c.addKey(at, "is of a limit that proxies count, and the scope is service", "remove it: the service decides by its own configuration of service.domain")
		}
	}
	out := model.RateLimit{
		Name:    r.Name,
		Matches: c.matches(r.Matches, f.Key("matches")),
		Status:  c.integer(r.Status, 400, 599, 0, f.Key("status")),
		Service: &model.LimitService{},
	}
	at := f.Key("service")
	if r.Service == nil {
		c.add(at, "is missing", "write which service is asked: {name: ratelimit, port: 8081, domain: shop, descriptors: [...]}")
		return out
	}
	c.limitService(r.Service, out.Service, at)
	return out
}

func (c *checker) limitService(s *limitService, out *model.LimitService, f *document.Field) {
	out.Service = model.ServiceName{Namespace: c.doc.Namespace, Name: s.Name}
	switch why := document.CheckLabel(s.Name); {
	case s.Name == "":
		c.add(f.Key("name"), "is missing", "name the Service that speaks Envoy's rate-limit protocol")
	case why != "":
		c.add(f.Key("name"), fmt.Sprintf("%q is no valid name of a Service", clip(s.Name)), why)
	}
	if s.Namespace != nil {
		if why := document.CheckLabel(*s.Namespace); why != "" {
			c.add(f.Key("namespace"), fmt.Sprintf("%q is no valid namespace", clip(*s.Namespace)), why)
		}
		out.Service.Namespace = *s.Namespace
	}
	if s.Port == nil {
		c.add(f.Key("port"), "is missing", "write the port of the Service, as 8081")
	}
	out.Port = uint16(c.integer(s.Port, 1, 65535, 1, f.Key("port")))
	switch {
	case s.Domain == "":
		c.add(f.Key("domain"), "is missing or empty", "write the domain of the service's configuration that has the limits")
	case len(s.Domain) > maxDomain:
		c.add(f.Key("domain"), fmt.Sprintf("has %d bytes, at most %d are allowed", len(s.Domain), maxDomain), "")
	}
	out.Domain = s.Domain
	out.Hits = uint32(c.integer(s.Hits, 1, maxHits, 0, f.Key("hits")))
	out.Timeout = c.duration(s.Timeout, time.Millisecond, maxAskTimeout, f.Key("timeout"))
	out.FailClosed = s.FailOpen != nil && !*s.FailOpen
	at := f.Key("descriptors")
	if len(s.Descriptors) == 0 {
		c.add(at, "is missing or empty", "write what the service counts by: [{entries: [{key: generic_key, value: all}]}]")
	}
	c.atMost(len(s.Descriptors), maxDescriptors, "descriptors", at)
	for i := range s.Descriptors {
		out.Descriptors = append(out.Descriptors, c.descriptor(&s.Descriptors[i], at.Index(i)))
	}
}

func (c *checker) descriptor(d *limitDescriptor, f *document.Field) model.LimitDescriptor {
	var out model.LimitDescriptor
	at := f.Key("entries")
	if len(d.Entries) == 0 {
		c.add(at, "is missing or empty", "write a key and its value, for example [{key: user, header: x-user}]")
	}
	c.atMost(len(d.Entries), maxDescriptors, "entries", at)
	for i := range d.Entries {
		out.Entries = append(out.Entries, c.limitEntry(&d.Entries[i], at.Index(i)))
	}
	return out
}

func (c *checker) limitEntry(e *limitEntry, f *document.Field) model.LimitEntry {
	out := model.LimitEntry{Key: e.Key, Path: e.Path, Method: e.Method, Identity: e.Identity, Source: e.Source, Optional: e.Optional}
	if e.Key == "" {
		c.add(f.Key("key"), "is missing or empty", "write the key as the service's configuration has it")
	}
	c.brief(e.Key, f.Key("key"))
	c.one(f, "value", "header", "path", "method", "identity", "source")
	c.flag(e.Path, f.Key("path"))
	c.flag(e.Method, f.Key("method"))
	c.flag(e.Identity, f.Key("identity"))
	c.flag(e.Source, f.Key("source"))
	if e.Value != nil {
		if out.Value = *e.Value; out.Value == "" {
			c.add(f.Key("value"), "is empty", "write a value: the service does not count by an empty one")
		}
		c.brief(out.Value, f.Key("value"))
	}
	if e.Header != nil && c.token(*e.Header, "header", f.Key("header")) {
		out.Header = strings.ToLower(*e.Header)
	}
	if e.Optional && e.Header == nil && !e.Identity {
		c.add(f.Key("optional"), "is of an entry that a request may lack, and every request has this one", "remove it")
	}
	return out
}

// brief wants at most maxEntry bytes.
func (c *checker) brief(s string, f *document.Field) {
	if len(s) > maxEntry {
		c.add(f, fmt.Sprintf("has %d bytes, at most %d are allowed", len(s), maxEntry), "")
	}
}

// askedAt tells where limits name the services that they ask.
func (c *checker) askedAt(limits []model.RateLimit, f *document.Field) []AskedAt {
	var out []AskedAt
	for i := range limits {
		if limits[i].Service != nil {
			out = append(out, AskedAt{i, c.position(f.Index(i).Key("service").Key("name"))})
		}
	}
	return out
}
