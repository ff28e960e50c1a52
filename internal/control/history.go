package control

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/internal/config"
)

// Bounds of the history: what is beyond one of them goes, oldest first.
const (
	maxHistory      = 200
	maxHistoryAge   = 30 * 24 * time.Hour
	maxHistoryBytes = 32 << 20 // in the store

	maxAuthor = 256     // bytes
	maxNote   = 4 << 10 // bytes

	maxHistoryBody = 64 << 20 // of one change, before compression
)

// Actions of a history entry.
const (
	actionApply    = "apply"
	actionDelete   = "delete"
	actionRollback = "rollback"
)

// historyRecord is a change as the store keeps it, beside the texts (historyTexts) under a key of their own. It
// is written in the transaction of the change; only Guard is written again, when the guard has ended.
type historyRecord struct {
	Time         time.Time       `json:"time"`
	Action       string          `json:"action"`
	Author       string          `json:"author,omitempty"` // as the caller said
	Caller       string          `json:"caller,omitempty"` // as we know
	Message      string          `json:"message,omitempty"`
	Changes      []historyChange `json:"changes"`
	Bytes        int             `json:"bytes"` // of the texts
	RolledBackTo int64           `json:"rolledBackTo,omitempty"`
	Undone       int64           `json:"undone,omitempty"`
	Guard        *guardOutcome   `json:"guard,omitempty"`
}

// historyChange is a resource that a change touched.
type historyChange struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	Action     string `json:"action"`
}

func (c historyChange) key() config.ResourceKey {
	return config.ResourceKey{Kind: c.Kind, Namespace: c.Namespace, Name: c.Name}
}

// historyText is a resource before and after a change; nil is: there was none.
type historyText struct {
	Before *resourceRecord `json:"before,omitempty"`
	After  *resourceRecord `json:"after,omitempty"`
}

// historyEntry is a record with what its key says.
type historyEntry struct {
	historyRecord
	ID       string // orders entries of one control plane; Revision orders all
	Revision int64  // of the store, that has the change
	size     int    // in the store, texts included
}

func historyHead(id string) string { return dirHistory + id + "/head" }
func historyBody(id string) string { return dirHistory + id + "/texts" }

// newHistoryID returns a key part that nobody else has.
func newHistoryID(now time.Time) string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails
	return fmt.Sprintf("%019d-%s", now.UnixNano(), hex.EncodeToString(b))
}

// note begins an entry with who asks for a change and why.
func note(ctx context.Context, action string, n *adminv1.Note) (historyRecord, error) {
	r := historyRecord{Action: action, Author: n.GetAuthor(), Message: strings.TrimSpace(n.GetMessage()), Caller: callerOf(ctx)}
	switch {
	case len(r.Author) > maxAuthor:
		return r, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the author has %d bytes; at most %d are kept", len(r.Author), maxAuthor))
	case len(r.Message) > maxNote:
		return r, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the message (-m) has %d bytes; at most %d are kept: shorten it", len(r.Message), maxNote))
	}
	return r, nil
}

// historyOps returns what puts a change into the history, and takes out what is too old for it. It returns
// nothing when nothing changes.
func (s *Server) historyOps(id string, entry historyRecord, changes []change, v *view) ([]clientv3.Op, error) {
	texts := make([]historyText, 0, len(changes))
	for i := range changes {
		c := &changes[i]
		if c.action() == actionUnchanged {
			continue
		}
		entry.Changes = append(entry.Changes, historyChange{c.api, c.key.Kind, c.key.Namespace, c.key.Name, c.action()})
		var t historyText
		if c.before != nil {
			t.Before = recordOf(s.ca, &c.before.Resource)
		}
		if c.after != nil {
			t.After = recordOf(s.ca, c.after)
		}
		texts = append(texts, t)
	}
	if len(texts) == 0 {
		return nil, nil
	}
	body, err := packTexts(texts)
	if err != nil {
		return nil, err
	}
	entry.Bytes = len(body)
	head, err := encode(entry)
	if err != nil {
		return nil, err
	}
	prefix := s.store.Prefix()
	ops := []clientv3.Op{clientv3.OpPut(prefix+historyHead(id), head), clientv3.OpPut(prefix+historyBody(id), string(body))}
	for _, old := range excess(v.history, entry.Time, 1, len(head)+len(body), prunedAtOnce, v.guarded) {
		ops = append(ops, clientv3.OpDelete(prefix+dirHistory+old+"/", clientv3.WithPrefix()))
	}
	return ops, nil
}

// prunedAtOnce bounds what a change takes out of the history: its transaction has few operations to spare.
const prunedAtOnce = 3

// excess returns the IDs of at most most entries that are beyond a bound when more entries of size bytes come to
// those that are, oldest first. Entries that a guard still needs stay.
func excess(entries []historyEntry, now time.Time, more, size, most int, needed func(id string) bool) []string {
	count, total := len(entries)+more, size
	for i := range entries {
		total += entries[i].size
	}
	var out []string
	for i := range slices.Backward(entries) { // the oldest is last
		e := &entries[i]
		if len(out) == most || count <= maxHistory && total <= maxHistoryBytes && now.Sub(e.Time) <= maxHistoryAge {
			break
		}
		if needed(e.ID) {
			continue
		}
		out = append(out, e.ID)
		count, total = count-1, total-e.size
	}
	return out
}

// sweepHistory takes out what a change could not.
func (s *Server) sweepHistory(ctx context.Context, now time.Time) error {
	v, _ := s.state.read(false)
	var ops []clientv3.Op
	for _, id := range excess(v.history, now, 0, 0, 100, v.guarded) {
		ops = append(ops, clientv3.OpDelete(s.store.Prefix()+dirHistory+id+"/", clientv3.WithPrefix()))
	}
	if len(ops) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if _, err := s.store.Client().Txn(ctx).Then(ops...).Commit(); err != nil {
		return fmt.Errorf("prune the history: %w", err)
	}
	return nil
}

func packTexts(texts []historyText) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if err := json.NewEncoder(w).Encode(texts); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpackTexts(b []byte) ([]historyText, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	var texts []historyText
	if err := json.NewDecoder(io.LimitReader(r, maxHistoryBody)).Decode(&texts); err != nil {
		return nil, err
	}
	return texts, nil
}

// texts reads what an entry changed from and to, in the order of its Changes.
func (s *Server) texts(ctx context.Context, e *historyEntry) ([]historyText, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	key := s.store.Prefix() + historyBody(e.ID)
	resp, err := s.store.Client().Get(ctx, key)
	if err != nil {
		return nil, unavailable(err)
	}
	if len(resp.Kvs) == 0 {
		return nil, connect.NewError(connect.CodeAborted, fmt.Errorf("revision %d has just left the history", e.Revision))
	}
	texts, err := unpackTexts(resp.Kvs[0].Value)
	if err == nil && len(texts) != len(e.Changes) {
		err = errors.New("it is of another change")
	}
	if err != nil {
		return nil, connect.NewError(connect.CodeDataLoss, fmt.Errorf("store key %s cannot be read: %w", key, err))
	}
	return texts, nil
}

// putHistory takes an entry of the store, newest first.
func (s *state) putHistory(key string, kv *mvccpb.KeyValue) error {
	id, head := strings.CutSuffix(strings.TrimPrefix(key, dirHistory), "/head")
	if !head {
		return nil // texts: read when somebody asks
	}
	rec, err := decode[historyRecord](key, kv.Value)
	if err != nil {
		return err
	}
	s.delHistory(id)
	e := historyEntry{historyRecord: rec, ID: id, Revision: kv.CreateRevision, size: len(kv.Value) + rec.Bytes}
	at, _ := slices.BinarySearchFunc(s.history, e, func(a, b historyEntry) int { return cmp.Compare(b.Revision, a.Revision) })
	s.history = slices.Insert(s.history, at, e)
	return nil
}

func (s *state) delHistory(id string) {
	s.history = slices.DeleteFunc(s.history, func(e historyEntry) bool { return e.ID == id })
}
