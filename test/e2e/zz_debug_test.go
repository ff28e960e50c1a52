package e2e
import ("testing";"time";"fmt";"net/http";"net";"context";"strings";"io")
func TestZZ(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	port := fmt.Sprint(freePort(t))
	m.actor("failing-server", port, nil, "--service", "web", "--version", "v2", "--port", "80:"+port)
	m.ready("web", 2)
	m.must("apply", "--wait", "-f", m.file("web.yaml", weighted(1, 0)))
	m.actor("steady", "http://web/", nil, "--service", "steady")
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", m.socket) }}}
	show := func(w string) { r, err := c.Post("http://weft/weft.admin.v1.AdminService/Stat", "application/json", strings.NewReader(`{"window":"`+w+`","groupBy":["direction","service","destination"]}`)); if err != nil { t.Log(err); return }; b,_ := io.ReadAll(r.Body)
	 for _, l := range strings.Split(string(b), `{"labels"`) { l,_,_ = strings.Cut(l, `"openC`); t.Log(w, l) } }
	time.Sleep(6*time.Second)
	show("10s")
	m.must("apply", "--wait", "-f", m.file("web.yaml", weighted(0, 1)))
	for i := range 4 { time.Sleep(2*time.Second); show(fmt.Sprintf("%ds", 2+2*i)) }
}
