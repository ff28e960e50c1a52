package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	clientv3 "go.etcd.io/etcd/client/v3"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

// service is a document whose port tells its versions apart.
func service(name string, port int) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: %d}]}\n", name, port)
}

func (p *plane) mustApply(text, message string) int64 {
	p.t.Helper()
	resp, err := p.client.Apply(p.ctx(), connect.NewRequest(&adminv1.ApplyRequest{
		Documents: []*adminv1.Document{{File: "web.yaml", Text: text}}, Note: &adminv1.Note{Author: "jo@ship", Message: message},
	}))
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.Msg.GetRevision()
}

func (p *plane) history(req *adminv1.HistoryRequest) []*adminv1.HistoryEntry {
	p.t.Helper()
	resp, err := p.client.History(p.ctx(), connect.NewRequest(req))
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.Msg.GetEntries()
}

func (p *plane) rollback(req *adminv1.RollbackRequest) (*adminv1.RollbackResponse, error) {
	resp, err := p.client.Rollback(p.ctx(), connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	return resp.Msg, nil
}

// ports says what is stored: "a:80 b:81".
func (p *plane) ports() string {
	p.t.Helper()
	list, err := p.client.List(p.ctx(), connect.NewRequest(&adminv1.ListRequest{Kind: "services"}))
	if err != nil {
		p.t.Fatal(err)
	}
	var out []string
	for _, r := range list.Msg.GetResources() {
		_, port, _ := strings.Cut(r.GetYaml(), "port: ")
		out = append(out, r.GetRef().GetName()+":"+port[:2])
	}
	return strings.Join(out, " ")
}

func TestHistoryAndRollback(t *testing.T) {
	dir := shortDir(t)
	p := startPlane(t, dir, nil)
	if _, err := p.rollback(&adminv1.RollbackRequest{}); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("rollback without a history: %v", err)
	}
	first := p.mustApply(service("a", 80), "first")
	p.mustApply(service("a", 80), "nothing changes")
	second := p.mustApply(service("a", 81)+service("b", 81), "second")
	if _, err := p.client.Delete(p.ctx(), connect.NewRequest(&adminv1.DeleteRequest{Resources: []*adminv1.ResourceRef{{Kind: "Service", Name: "a"}}})); err != nil {
		t.Fatal(err)
	}
	all := p.history(&adminv1.HistoryRequest{})
	if len(all) != 3 || all[2].GetRevision() != first || all[1].GetRevision() != second || all[0].GetAction() != "delete" {
		t.Fatalf("%v", all)
	}
	if e := all[1]; e.GetAuthor() != "jo@ship" || e.GetMessage() != "second" || !strings.HasPrefix(e.GetCaller(), "uid ") ||
		time.Since(e.GetTime().AsTime()) > time.Minute || len(e.GetChanges()) != 2 || e.GetChanges()[0].GetAfter() != "" {
		t.Errorf("%v", e)
	}
	if e := p.history(&adminv1.HistoryRequest{Revision: second})[0].GetChanges()[0]; !strings.Contains(e.GetBefore(), "80") || !strings.Contains(e.GetAfter(), "81") {
		t.Errorf("%v", e)
	}
	if of := p.history(&adminv1.HistoryRequest{Kind: "svc", Name: "b"}); len(of) != 1 || of[0].GetRevision() != second {
		t.Errorf("of service b: %v", of)
	}

	// To a revision, and back by undoing that; also over a restart.
	dry, err := p.rollback(&adminv1.RollbackRequest{Revision: first, DryRun: true})
	if err != nil || len(dry.GetChanges()) != 2 || p.ports() != "b:81" {
		t.Fatalf("dry run: %v %v; stored: %s", dry, err, p.ports())
	}
	p.stop()
	p = startPlane(t, dir, nil)
	if got, err := p.rollback(&adminv1.RollbackRequest{Revision: first}); err != nil || p.ports() != "a:80" || got.GetRolledBackTo() != first {
		t.Fatalf("to the first: %v %v; stored: %s", got, err, p.ports())
	}
	if got, err := p.rollback(&adminv1.RollbackRequest{}); err != nil || p.ports() != "b:81" || got.GetUndone() == 0 {
		t.Fatalf("undone: %v %v; stored: %s", got, err, p.ports())
	}
	if got, err := p.rollback(&adminv1.RollbackRequest{Revision: second}); err != nil || p.ports() != "a:81 b:81" || len(p.history(&adminv1.HistoryRequest{})) != 6 {
		t.Fatalf("to the second: %v %v; stored: %s", got, err, p.ports())
	}
	if got, err := p.rollback(&adminv1.RollbackRequest{Revision: second}); err != nil || len(p.history(&adminv1.HistoryRequest{})) != 6 {
		t.Errorf("to where it is: %v %v", got, err)
	}

	// Refused, and forced.
	_, err = p.rollback(&adminv1.RollbackRequest{Revision: first, Only: true})
	if connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), fmt.Sprintf("Service default/a was changed since, in revision %d (rollback by uid", p.history(&adminv1.HistoryRequest{})[0].GetRevision())) {
		t.Errorf("undo of what was changed since: %v", err)
	}
	if _, err := p.rollback(&adminv1.RollbackRequest{Revision: first, Only: true, Force: true}); err != nil || p.ports() != "b:81" {
		t.Errorf("forced: %v; stored: %s", err, p.ports())
	}
	for _, req := range []*adminv1.RollbackRequest{{Revision: 1}, {Revision: 1 << 40}, {Revision: 2, Only: true}, {Only: true}, {Revision: -1}} {
		if _, err := p.rollback(req); err == nil {
			t.Errorf("%v was done", req)
		}
	}
	if _, err := p.client.Apply(p.ctx(), connect.NewRequest(&adminv1.ApplyRequest{Note: &adminv1.Note{Message: strings.Repeat("x", maxNote+1)}})); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a long message: %v", err)
	}
}

// TestChangedBehindTheHistory: a resource that the history did not see change is not overwritten.
func TestChangedBehindTheHistory(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	p.mustApply(service("a", 80), "")
	last := p.mustApply(service("a", 81), "")
	key := p.s.store.Prefix() + "resources/Service/default/a"
	value, err := encode(resourceRecord{YAML: strings.TrimPrefix(service("a", 82), "---\n"), File: "x"})
	if err != nil {
		t.Fatal(err)
	}
	put, err := p.s.store.Client().Put(p.ctx(), key, value)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.s.catchUp(p.ctx(), put.Header.Revision-1); err != nil {
		t.Fatal(err)
	}
	if _, err := p.rollback(&adminv1.RollbackRequest{}); connect.CodeOf(err) != connect.CodeFailedPrecondition ||
		!strings.Contains(err.Error(), fmt.Sprintf("not as revision %d left it", last)) || p.ports() != "a:82" {
		t.Errorf("%v; stored: %s", err, p.ports())
	}
}

// TestHistoryIsBounded makes more changes than are kept.
func TestHistoryIsBounded(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	for i := range maxHistory + 5 {
		p.mustApply(service("a", 10+i%90), "")
	}
	all := p.history(&adminv1.HistoryRequest{})
	keys, err := p.s.store.Client().Get(p.ctx(), p.s.store.Prefix()+dirHistory, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || len(all) != maxHistory || keys.Count != 2*maxHistory {
		t.Errorf("%d entries in %d keys, want %d (%v)", len(all), keys.Count, maxHistory, err)
	}
	if _, err := p.rollback(&adminv1.RollbackRequest{Revision: all[maxHistory-1].GetRevision() - 1}); connect.CodeOf(err) != connect.CodeNotFound || !strings.Contains(err.Error(), "the history begins with") {
		t.Errorf("to before the history: %v", err)
	}
	if err := p.s.sweepHistory(p.ctx(), time.Now().Add(maxHistoryAge+time.Hour)); err != nil {
		t.Fatal(err)
	}
	if keys, err = p.s.store.Client().Get(p.ctx(), p.s.store.Prefix()+dirHistory, clientv3.WithPrefix(), clientv3.WithCountOnly()); err != nil || keys.Count != 2*(maxHistory-100) {
		t.Errorf("%d keys after a sweep in 31 days (%v)", keys.Count, err)
	}
}

func TestExcess(t *testing.T) {
	now := time.Now()
	var entries []historyEntry // newest first
	for i := range 10 {
		e := historyEntry{ID: fmt.Sprint(i), size: 4 << 20}
		e.Time = now.Add(-time.Duration(i) * 4 * 24 * time.Hour)
		entries = append(entries, e)
	}
	none := func(string) bool { return false }
	for _, c := range []struct {
		name             string
		of               []historyEntry
		more, size, most int
		needed           func(string) bool
		want             string
	}{
		{"by bytes and age", entries, 0, 0, 9, none, "[9 8]"},
		{"and room for another", entries, 1, 4 << 20, 9, none, "[9 8 7]"},
		{"at most", entries, 1, 4 << 20, 1, none, "[9]"},
		{"not what a guard needs", entries, 0, 0, 9, func(id string) bool { return id == "9" }, "[8 7]"},
		{"few", entries[:3], 1, 1, 9, none, "[]"},
	} {
		if got := fmt.Sprint(excess(c.of, now, c.more, c.size, c.most, c.needed)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
