package model

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// fill sets every field of a struct to a value that is not zero and differs by seed.
func fill(v reflect.Value, seed int) {
	if v.Type() == reflect.TypeFor[netip.Prefix]() {
		v.Set(reflect.ValueOf(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(seed)}), 32)))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), seed)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), seed)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), seed, seed))
		for i := range seed {
			fill(v.Index(i), seed)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, seed)
		fill(value, seed)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(fmt.Sprint("text", seed))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(float64(seed) / 10)
	default:
		if v.CanInt() {
			v.SetInt(int64(seed))
		} else {
			v.SetUint(uint64(seed))
		}
	}
}

// leaves calls f with each field that is merged by itself.
func leaves(v reflect.Value, f func(name string, v reflect.Value)) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Name == "Connections" {
			leaves(v.Field(i), f)
			continue
		}
		f(field.Name, v.Field(i))
	}
}

// checkMerge merges each field alone with all fields of the other side. The struct is one of those that are merged.
func checkMerge[T any](t *testing.T, merge func(specific, general *T) *T, skip map[string]bool) {
	t.Helper()
	full := func(seed int) *T {
		v := new(T)
		fill(reflect.ValueOf(v).Elem(), seed)
		leaves(reflect.ValueOf(v).Elem(), func(name string, v reflect.Value) {
			if name == "Ports" {
				v.SetZero()
			}
		})
		return v
	}
	get := func(v *T) map[string]any {
		out := map[string]any{}
		leaves(reflect.ValueOf(v).Elem(), func(name string, v reflect.Value) { out[name] = v.Interface() })
		return out
	}
	general := full(3)
	if got := merge(new(T), general); !reflect.DeepEqual(got, general) {
		t.Errorf("a policy that says nothing hides the general one: %+v", got)
	}
	if got := merge(full(2), general); !reflect.DeepEqual(got, full(2)) {
		t.Errorf("the specific policy does not hold: %+v", got)
	}
	for name := range get(general) {
		if skip[name] {
			continue
		}
		specific := new(T)
		leaves(reflect.ValueOf(specific).Elem(), func(n string, v reflect.Value) {
			if n == name {
				fill(v, 2)
			}
		})
		before := *specific
		got, wantOwn, wantRest := get(merge(specific, general)), get(full(2)), get(general)
		for n, v := range got {
			want := wantRest[n]
			if n == name {
				want = wantOwn[n]
			}
			if !skip[n] && !reflect.DeepEqual(v, want) {
				t.Errorf("with %s alone, %s is %+v, want %+v", name, n, v, want)
			}
		}
		if !reflect.DeepEqual(before, *specific) || !reflect.DeepEqual(general, full(3)) {
			t.Fatalf("merging %s changed its input", name)
		}
	}
	if merge(nil, nil) != nil || merge(nil, general) != general || merge(general, nil) != general || merge(general, general) != general {
		t.Error("nil says something")
	}
}

func TestMergePolicy(t *testing.T) {
	checkMerge(t, MergePolicy, map[string]bool{"NoTimeout": true, "Timeout": true})
	s := time.Second
	for _, c := range []struct{ specific, general, want Policy }{
		{Policy{}, Policy{Timeout: s}, Policy{Timeout: s}},
		{Policy{NoTimeout: true}, Policy{Timeout: s}, Policy{NoTimeout: true}},
		{Policy{Timeout: s}, Policy{NoTimeout: true}, Policy{Timeout: s}},
		{Policy{IdleTimeout: s}, Policy{NoTimeout: true}, Policy{IdleTimeout: s, NoTimeout: true}},
		{Policy{Retry: &Retry{}}, Policy{Retry: &Retry{Attempts: 3, AnyMethod: true}}, Policy{Retry: &Retry{}}},
	} {
		if got := MergePolicy(&c.specific, &c.general); !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%+v before %+v is %+v, want %+v", c.specific, c.general, *got, c.want)
		}
	}
}

func TestMergeUpstream(t *testing.T) {
	checkMerge(t, MergeUpstream, map[string]bool{"Ports": true}) // see TestUpstreamOfAPort
	// The parts of Balance belong together: a hash is nothing without its algorithm.
	got := MergeUpstream(&Upstream{Balance: Balance{Algorithm: RoundRobin}}, &Upstream{Balance: Balance{Algorithm: Maglev, TableSize: 7}})
	if !reflect.DeepEqual(got.Balance, Balance{Algorithm: RoundRobin}) {
		t.Errorf("%+v", got.Balance)
	}
}
