package balance

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/internal/model"
)

// shares picks n times with random words and hashes, and returns the share of each endpoint.
func shares(t *testing.T, set *Set, in Input, n int) []float64 {
	t.Helper()
	random := rand.New(rand.NewPCG(21, 22))
	counts := make([]float64, set.Len())
	if in.Now.IsZero() {
		in.Now = start()
	}
	for range n {
		in.Random, in.Hash = random.Uint64(), random.Uint64()
		i, why := set.Pick(&in)
		if i < 0 || why.None {
			t.Fatalf("nobody was picked: %v", why)
		}
		counts[i] += 1 / float64(n)
	}
	return counts
}

// near fails unless each share is within four standard deviations of a binomial distribution, or within slack of it.
func near(t *testing.T, name string, got, want []float64, n int, slack float64) {
	t.Helper()
	for i := range want {
		if d := math.Abs(got[i] - want[i]); d > max(4*math.Sqrt(want[i]*(1-want[i])/float64(n)), slack*want[i])+1e-9 {
			t.Errorf("%s: endpoint %d has %.4f, want %.4f", name, i, got[i], want[i])
		}
	}
}

const picks = 50_000

// slacks: what a table's shares may differ by.
func slack(a model.Algorithm) float64 {
	switch a {
	case model.RingHash:
		return 0.15
	case model.Maglev:
		return 0.03
	}
	return 0
}

func TestShares(t *testing.T) {
	for _, a := range algorithms() {
		for _, weights := range [][]uint32{{0, 0, 0, 0}, {1, 2, 3, 4}, {100, 1, 1, 50}, {7, 7, 7, 7}} {
			all, want, total := candidates(4), make([]float64, 4), 0.0
			for i, w := range weights {
				all[i].Weight = w
				want[i] = float64(max(1, w))
				total += want[i]
			}
			for i := range want {
				want[i] /= total
			}
			set := mustNew(t, model.Balance{Algorithm: a}, Client{}, all)
			within := slack(a)
			if a == model.RingHash && weights[0] == 100 {
				within = 1 // one in a hundred has 8 points
			}
			near(t, string(a), shares(t, set, Input{Hashed: true}, picks), want, picks, within)
			if a != model.RoundRobin { // whose turns of an unusable endpoint go to the next
				near(t, string(a)+" without a hash", shares(t, set, Input{}, picks), want, picks, 0)
			}
		}
	}
}

// TestRoundRobinIsSmooth: in any run of the sum of the weights, each endpoint is picked as often as its weight says,
// give or take one; equals follow each other exactly.
func TestRoundRobinIsSmooth(t *testing.T) {
	for _, weights := range [][]uint32{{1, 1, 1}, {5, 1, 1}, {3, 2, 2, 1}, {10, 7}} {
		all, total := candidates(len(weights)), 0
		for i, w := range weights {
			all[i].Weight = w
			total += int(w)
		}
		set := mustNew(t, model.Balance{Algorithm: model.RoundRobin}, Client{}, all)
		var seq []int
		for i := range uint64(1000) {
			at, _ := set.Pick(&Input{Now: start(), Random: mix(i)})
			seq = append(seq, at)
		}
		for from := 0; from+total <= len(seq); from++ {
			counts := make([]int, len(weights))
			for _, at := range seq[from : from+total] {
				counts[at]++
			}
			for i, w := range weights {
				if d := counts[i] - int(w); d < -1 || d > 1 || slices.Max(weights) == slices.Min(weights) && d != 0 {
					t.Fatalf("weights %v: %v from %d on: %v", weights, seq[from:from+total], from, counts)
				}
			}
		}
	}
}

// TestRoundRobinsBeginApart: of 400 proxies that start together each of four endpoints is the first of at least 60.
func TestRoundRobinsBeginApart(t *testing.T) {
	for _, weight := range []uint32{1, 2} {
		all := candidates(4)
		all[0].Weight = weight
		set := mustNew(t, model.Balance{Algorithm: model.RoundRobin}, Client{}, all)
		counts := make([]int, 4)
		random := rand.New(rand.NewPCG(1, 1))
		for range 400 {
			at, _ := set.Clone().Pick(&Input{Now: start(), Random: random.Uint64()})
			counts[at]++
		}
		if slices.Min(counts) < 60 {
			t.Errorf("first picks %v", counts)
		}
	}
}

// TestPickIsUsable holds for every algorithm and any state: never one that may not be, and one whenever there is one.
func TestPickIsUsable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(t, "n")
		bools := func(name string) []bool { return rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, name) }
		usable, healthy := bools("usable"), bools("healthy")
		all := candidates(n)
		for i := range all {
			all[i].Weight = rapid.Uint32Range(0, 9).Draw(t, "weight")
			all[i].Locality = rapid.SampledFrom([]string{"", "eu/a", "eu/b", "us"}).Draw(t, "locality")
			all[i].Since = start().Add(-time.Duration(rapid.IntRange(0, 120).Draw(t, "age")) * time.Second)
		}
		b := model.Balance{
			Algorithm: rapid.SampledFrom(algorithms()).Draw(t, "algorithm"),
			WarmUp:    time.Duration(rapid.SampledFrom([]int{0, 60}).Draw(t, "warm")) * time.Second,
			Panic:     rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "panic"),
			Locality:  rapid.SampledFrom([]*model.Locality{nil, {Prefer: true}}).Draw(t, "prefer"),
		}
		set, err := New(b, Client{Locality: "eu/a"}, all)
		if err != nil {
			t.Fatal(err)
		}
		in := Input{
			Now: start(), Random: rapid.Uint64().Draw(t, "random"), Hash: rapid.Uint64().Draw(t, "hash"), Hashed: rapid.Bool().Draw(t, "hashed"),
			Usable: func(i int) bool { return usable[i] }, Healthy: func(i int) bool { return healthy[i] },
			Load: func(i int) int { return i }, LastResort: rapid.Bool().Draw(t, "last"),
		}
		for range 3 {
			told, _, verdicts := set.Explain(&in)
			got, why := set.Pick(&in)
			if got != told {
				t.Fatalf("Explain says %d, Pick says %d", told, got)
			}
			anyUsable, both := false, false
			for i := range n {
				anyUsable = anyUsable || usable[i]
				both = both || usable[i] && healthy[i]
				if verdicts[i].Chosen != (i == got) || verdicts[i].Reason == "" {
					t.Fatalf("verdict %+v of %d, %d is chosen", verdicts[i], i, got)
				}
			}
			switch {
			case got < 0 != why.None:
				t.Fatalf("%d: %+v", got, why)
			case got < 0 && (both || in.LastResort && anyUsable):
				t.Fatalf("nobody was picked: usable %v, healthy %v", usable, healthy)
			case got >= 0 && (!usable[got] || !healthy[got] && !why.Panic && !why.LastResort):
				t.Fatalf("%d was picked: %+v", got, why)
			}
			in.Random++
		}
	})
}

// TestUnhealthyShareIsSpreadEvenly: random draws do not favour the neighbour of one that is out.
func TestUnhealthyShareIsSpreadEvenly(t *testing.T) {
	third := 1.0 / 3
	for _, a := range []model.Algorithm{model.Random, model.LeastRequest, model.PeakEWMA} {
		set := mustNew(t, model.Balance{Algorithm: a}, Client{}, candidates(4))
		near(t, string(a), shares(t, set, Input{Healthy: func(i int) bool { return i != 1 }}, picks), []float64{third, 0, third, third}, picks, 0)
	}
	// One of 50 is usable: found though draws miss it.
	set := mustNew(t, model.Balance{Algorithm: model.Random}, Client{}, candidates(50))
	if s := shares(t, set, Input{Usable: func(i int) bool { return i == 7 }}, 1000); s[7] < 0.999 {
		t.Errorf("the only usable one has %v", s[7])
	}
}

// TestWarmUpRamp: a new endpoint among three has 10% of a full share at first, 55% at half time and all at the end;
// binomial bounds. With round robin too.
func TestWarmUpRamp(t *testing.T) {
	for _, a := range []model.Algorithm{model.Random, model.RoundRobin, model.LeastRequest} {
		for _, c := range []struct {
			age    time.Duration
			factor float64
		}{{0, 0.1}, {15 * time.Second, 0.325}, {30 * time.Second, 0.55}, {60 * time.Second, 1}, {time.Hour, 1}} {
			all := candidates(4)
			all[3].Since = start()
			set := mustNew(t, model.Balance{Algorithm: a, WarmUp: time.Minute}, Client{}, all)
			full := 1 / (3 + c.factor)
			got := shares(t, set, Input{Now: start().Add(c.age)}, picks)
			near(t, string(a)+" at "+c.age.String(), got, []float64{full, full, full, c.factor * full}, picks, 0.01)
		}
	}
	for age, want := range map[time.Duration]float64{-1: 0.1, 0: 0.1, 50: 0.55, 100: 1, 101: 1} {
		if got := rampOf(&model.Balance{WarmUp: 100}).at(age); math.Abs(got-want) > 1e-9 {
			t.Errorf("age %d: %v, want %v", age, got, want)
		}
	}
	if rampOf(&model.Balance{}).at(0) != 1 {
		t.Error("without a time there is no warm-up")
	}
}

// TestPreferAndSpill: two near endpoints of which one is unhealthy are worth 70%: the far ones take 30%.
func TestPreferAndSpill(t *testing.T) {
	all := candidates(4)
	for i, l := range []string{"eu/a", "eu/a", "us/a", "us/b"} {
		all[i].Locality = l
	}
	for _, a := range algorithms() {
		set := mustNew(t, model.Balance{Algorithm: a, Locality: &model.Locality{Prefer: true}}, Client{Locality: "eu/a"}, all)
		near(t, string(a), shares(t, set, Input{Hashed: true}, picks), []float64{0.5, 0.5, 0, 0}, picks, slack(a))
		set.Invalidate()
		got := shares(t, set, Input{Hashed: true, Healthy: func(i int) bool { return i != 1 }}, picks)
		near(t, string(a)+" with one down", got, []float64{0.7, 0, 0.15, 0.15}, picks, slack(a))
	}
	set := mustNew(t, model.Balance{Locality: &model.Locality{Prefer: true, Capacity: 2}}, Client{Locality: "eu/a"}, all)
	near(t, "capacity 2", shares(t, set, Input{Healthy: func(i int) bool { return i != 1 }}, picks), []float64{1, 0, 0, 0}, picks, 0)
}

// TestCountsAreKept: health is counted at most each 10 ms, or when it is said to have changed.
func TestCountsAreKept(t *testing.T) {
	all := candidates(4)
	for i, l := range []string{"eu", "eu", "us", "us"} {
		all[i].Locality = l
	}
	set := mustNew(t, model.Balance{Locality: &model.Locality{Prefer: true}}, Client{Locality: "eu"}, all)
	down, asked := false, 0
	in := Input{Now: start(), Healthy: func(i int) bool { asked++; return !down || i > 1 }}
	set.Pick(&in)
	first := asked
	set.Pick(&in)
	if asked-first >= first {
		t.Errorf("%d and then %d questions about health", first, asked-first)
	}
	down = true
	if i, why := set.Pick(&in); i < 2 || !why.Elsewhere || why.Load != 0 {
		t.Errorf("%d: %v", i, why)
	}
	set.Invalidate()
	if i, why := set.Pick(&in); i < 2 || why.Elsewhere || why.Load != 1 {
		t.Errorf("%d: %v", i, why)
	}
	down, in.Now = false, start().Add(recount)
	if i, why := set.Pick(&in); i > 1 || why.Load != 1 {
		t.Errorf("%d: %v", i, why)
	}
}

// TestDistributeShares: 80 to 20 by policy, whatever the number of endpoints; none to a place that is not named.
func TestDistributeShares(t *testing.T) {
	all := candidates(5)
	for i, l := range []string{"eu/a", "eu/b", "eu/b", "eu/b", "us/a"} {
		all[i].Locality = l
	}
	l := &model.Locality{Distribute: []model.LocalityShare{{From: "eu/a/*", To: map[string]float64{"eu/a/*": 0.8, "eu/b/*": 0.2}}}}
	for _, a := range algorithms() {
		set := mustNew(t, model.Balance{Algorithm: a, Locality: l}, Client{Locality: "eu/a/1"}, all)
		got := shares(t, set, Input{Hashed: true}, picks)
		near(t, string(a), got, []float64{0.8, 0.2 / 3, 0.2 / 3, 0.2 / 3, 0}, picks, slack(a))
	}
}

// TestPanicIgnoresHealth: below the threshold all are asked, above it only the healthy.
func TestPanicIgnoresHealth(t *testing.T) {
	for _, c := range []struct {
		healthy   int
		threshold float64
		want      []float64
		panics    bool
	}{
		{2, 0.5, []float64{0.5, 0.5, 0, 0}, false},
		{1, 0.5, []float64{0.25, 0.25, 0.25, 0.25}, true},
		{1, 0, []float64{1, 0, 0, 0}, false},
		{0, 0.5, []float64{0.25, 0.25, 0.25, 0.25}, true},
	} {
		set := mustNew(t, model.Balance{Algorithm: model.Random, Panic: c.threshold}, Client{}, candidates(4))
		in := Input{Now: start(), Healthy: func(i int) bool { return i < c.healthy }}
		near(t, "panic", shares(t, set, in, picks), c.want, picks, 0)
		if _, why := set.Pick(&in); why.Panic != c.panics || strings.Contains(why.String(), "panic") != c.panics {
			t.Errorf("%+v: %v", c, why)
		}
	}
}

func TestHashKeepsAClient(t *testing.T) {
	for _, a := range []model.Algorithm{model.RingHash, model.Maglev} {
		all := candidates(8)
		for i := range all {
			all[i].Locality = []string{"eu", "us"}[i/4]
		}
		set := mustNew(t, model.Balance{Algorithm: a, Locality: &model.Locality{Prefer: true}}, Client{Locality: "eu"}, all)
		healthy := func(i int) bool { return i > 1 } // half of the near ones: 30% spill
		for h := range uint64(100) {
			in := Input{Now: start(), Hash: HashString(1, string(rune('a'+h))), Hashed: true, Healthy: healthy}
			first, _ := set.Pick(&in)
			for range 20 {
				in.Random++
				if i, _ := set.Clone().Pick(&in); i != first {
					t.Fatalf("%s: client %d goes to %d and %d", a, h, first, i)
				}
			}
		}
	}
}

func TestLastResort(t *testing.T) {
	set := mustNew(t, model.Balance{}, Client{}, candidates(3))
	in := Input{Now: start(), Healthy: func(int) bool { return false }, Usable: func(i int) bool { return i == 2 }}
	if i, why := set.Pick(&in); i != -1 || !why.None || why.String() != "leastRequest: no endpoint is usable" {
		t.Errorf("%d: %v", i, why)
	}
	in.LastResort = true
	if i, why := set.Pick(&in); i != 2 || !why.LastResort || why.String() != "leastRequest; last resort: no endpoint is healthy" {
		t.Errorf("%d: %v", i, why)
	}
}

func TestExplain(t *testing.T) {
	all := candidates(5)
	for i, l := range []string{"eu/a", "eu/a", "eu/a", "eu/a", "us"} {
		all[i].Locality = l
	}
	all[3].Since = start()
	set := mustNew(t, model.Balance{WarmUp: 10 * time.Second, Locality: &model.Locality{Prefer: true}}, Client{Locality: "eu/a"}, all)
	in := Input{
		Now: start().Add(5 * time.Second), Load: func(i int) int { return 9 * (i % 3) },
		Usable: func(i int) bool { return i != 1 }, Healthy: func(i int) bool { return i != 2 },
	}
	chosen, why, verdicts := set.Explain(&in)
	if chosen != 0 && chosen != 3 || !strings.Contains(why.String(), "same zone takes 100%") {
		t.Errorf("%d: %v", chosen, why)
	}
	reasons := map[int]string{1: "not usable for this request", 2: "not healthy", 3: "warming up, at 55% of its weight", 4: "its priority takes no requests while nearer ones can"}
	for i, want := range reasons {
		if got := verdicts[i].Reason; got != want && i != chosen {
			t.Errorf("endpoint %d: %q, want %q", i, got, want)
		}
	}
	if v := verdicts[3]; v.Group != "same zone" || v.Load != 1 || math.Abs(v.Weight-0.55) > 1e-9 || v.ID != all[3].ID {
		t.Errorf("%+v", v)
	}
	ewma := mustNew(t, model.Balance{Algorithm: model.PeakEWMA}, Client{}, candidates(2))
	if _, why, _ := ewma.Explain(&Input{Now: start(), Load: func(i int) int { return i }}); why.String() != "peakEWMA, 30ms against 60ms" {
		t.Error(why)
	}
	hash := mustNew(t, model.Balance{Algorithm: model.Maglev}, Client{}, candidates(2))
	if _, why := hash.Pick(&Input{Now: start()}); !strings.Contains(why.String(), "nothing to hash") {
		t.Error(why)
	}
}

func TestNewErrors(t *testing.T) {
	for _, c := range []struct {
		b       model.Balance
		message string
	}{
		{model.Balance{Algorithm: "fastest"}, `unknown algorithm "fastest"; known are`},
		{model.Balance{Algorithm: model.Maglev, TableSize: 1000}, "maglev: table size 1000 is no prime; the next is 1009"},
		{model.Balance{Algorithm: model.RingHash, TableSize: 1 << 30}, "ring: table size"},
	} {
		if _, err := New(c.b, Client{}, candidates(2)); err == nil || !strings.HasPrefix(err.Error(), c.message) {
			t.Errorf("%v, want %s", err, c.message)
		}
	}
	empty := mustNew(t, model.Balance{}, Client{}, nil)
	if i, why := empty.Pick(&Input{Now: start()}); i != -1 || !why.None {
		t.Errorf("%d: %v", i, why)
	}
}

// TestRenewTakesTablesOver: where endpoints and weights are the same, and only there.
func TestRenewTakesTablesOver(t *testing.T) {
	b := model.Balance{Algorithm: model.Maglev, TableSize: 101, Locality: &model.Locality{Prefer: true}}
	all := candidates(4)
	for i := range all {
		all[i].Locality = []string{"eu", "us"}[i/2]
	}
	client := Client{Locality: "eu"}
	old := mustNew(t, b, client, all)
	renew := func(b model.Balance, all []Candidate) *Set {
		t.Helper()
		s, err := old.Renew(b, client, all)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	other := slices.Clone(all)
	other[3].Weight = 2
	other[0].Since = start()
	s := renew(b, other)
	if s.parts[0].maglev != old.parts[0].maglev || s.parts[1].maglev == old.parts[1].maglev {
		t.Error("of two groups the first is the same and the second is not")
	}
	if s := renew(b, all[:3]); s.parts[1].maglev == old.parts[1].maglev || s.parts[1].maglev == nil {
		t.Error("an endpoint left, and the table stayed")
	}
	b.TableSize = 103
	if s := renew(b, all); s.parts[0].maglev == old.parts[0].maglev {
		t.Error("the size changed, and the table stayed")
	}
	b.Algorithm = model.RingHash
	if s := renew(b, all); s.parts[0].ring == nil {
		t.Error("no ring")
	}
}

func TestEWMA(t *testing.T) {
	var e EWMA
	at := func(s float64) time.Time { return start().Add(time.Duration(s * float64(time.Second))) }
	is := func(s float64, want time.Duration) {
		t.Helper()
		if got := e.Estimate(at(s), 0); math.Abs(float64(got-want)) > float64(want)/1000 {
			t.Errorf("at %v s: %v, want %v", s, got, want)
		}
	}
	const ms = time.Millisecond
	is(0, 30*ms) // nothing is known
	e.Observe(10*ms, at(0), 0)
	is(0, 10*ms)
	e.Observe(100*ms, at(1), 0)
	is(1, 100*ms) // up at once
	is(11, 36788*time.Microsecond)
	e.Observe(10*ms, at(11), 0)
	is(11, 43109*time.Microsecond) // 100/e + 10(1-1/e)
	e.Observe(-ms, at(11), 0)
	is(11, 43109*time.Microsecond)
	e.Observe(50*ms, at(5), 0) // late, but slower
	is(11, 50*ms)
	is(5, 50*ms)
	if got := e.Estimate(at(12), time.Second); math.Abs(float64(got)/float64(18394*time.Microsecond)-1) > 0.001 {
		t.Errorf("with a decay of 1 s: %v", got)
	}
}

// TestSmallEndpointsAreNotFlooded: an endpoint of weight 1 beside one of 50 is idle while the other has 9 requests in
// flight. It is compared, and wins, in at most twice its share of the choices.
func TestSmallEndpointsAreNotFlooded(t *testing.T) {
	all := candidates(2)
	all[0].Weight, all[1].Weight = 50, 1
	set := mustNew(t, model.Balance{}, Client{}, all)
	got := shares(t, set, Input{Load: func(i int) int { return 9 * (1 - i) }}, picks)
	if most := 2.0 / 51; got[1] > most+4*math.Sqrt(most/picks) {
		t.Errorf("the small one has %.4f of the requests, want at most %.4f", got[1], most)
	}
}

// TestHeavyUnusableDoesNotDisturb: with an endpoint out that has 1,000 times the weight of others, these take turns.
func TestHeavyUnusableDoesNotDisturb(t *testing.T) {
	all := candidates(3)
	all[0].Weight = 1000
	set := mustNew(t, model.Balance{Algorithm: model.RoundRobin}, Client{}, all)
	last := -1
	for i := range uint64(1000) {
		at, _ := set.Pick(&Input{Now: start(), Random: mix(i), Healthy: func(i int) bool { return i != 0 }})
		if at == last || at == 0 {
			t.Fatalf("pick %d is %d again", i, at)
		}
		last = at
	}
}
