package xds

import (
	"context"
	"errors"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// askAgain is how long the answer that there is no such service holds.
const askAgain = 2 * time.Second

// ErrAway says that nobody could be asked.
var ErrAway = errors.New("the control plane cannot be reached, and the service is not known here")

// Subscribe asks for services for good.
func (c *Client) Subscribe(names ...model.ServiceName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range names {
		c.want(n).pinned = true
	}
}

// Lookup reports whether there is a service of that name, and from then on receives it if there is. The first
// call for a name asks the control plane and waits for the answer, at most until ctx ends. While the control
// plane is away the answer is from what is held; ErrAway if that says nothing.
func (c *Client) Lookup(ctx context.Context, name model.ServiceName) (known bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sub := c.names[name]
	if sub != nil && sub.absent && time.Since(sub.used) > askAgain {
		sub.absent = false
		c.ask(name)
	}
	if sub == nil {
		sub = c.want(name)
	}
	for {
		switch {
		case c.held[ServiceResource(name)] != nil && c.held[EndpointsResource(name)] != nil:
			sub.used = time.Now()
			return true, nil
		case sub.absent:
			return false, nil
		case !c.connected && c.revision > 0:
			return false, ErrAway
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
			c.mu.Lock()
		case <-ctx.Done():
			c.mu.Lock()
			return false, ctx.Err()
		}
	}
}

// want makes a subscription, in place of the least recently used one if there are too many.
func (c *Client) want(n model.ServiceName) *subscription {
	if sub := c.names[n]; sub != nil {
		return sub
	}
	if len(c.names) >= c.o.MaxSubscriptions {
		c.evict()
	}
	sub := &subscription{used: time.Now()}
	c.names[n] = sub
	c.ask(n)
	return sub
}

func (c *Client) ask(n model.ServiceName) {
	if sub := c.names[n]; sub != nil {
		sub.used = time.Now()
	}
	c.subscribe = append(c.subscribe, ServiceResource(n))
	select {
	case c.wanted <- struct{}{}:
	default:
	}
}

func (c *Client) evict() {
	var oldest model.ServiceName
	var at time.Time
	for n, sub := range c.names {
		if !sub.pinned && (at.IsZero() || sub.used.Before(at)) {
			oldest, at = n, sub.used
		}
	}
	if !at.IsZero() {
		delete(c.names, oldest)
		c.forget = append(c.forget, ServiceResource(oldest))
	}
}
