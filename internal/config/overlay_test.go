package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTakenOut: a policy takes out what the list says of a filter, and what is not there can't be taken out.
func TestTakenOut(t *testing.T) {
	const head = `hostname: mx.example.org
listeners: {public: {address: ":25"}}
routes: [{to: [example.org], upstream: inside}]
upstreams: {inside: {maildir: /m}}
filters: [{attachments: {classes: {macro: tag, executable: strip}, lists: {a.example: {depth: 1}, b.example: {depth: 2}}, archives: {depth: 5, octets: 1}, notice: /n, most: 3}}]
policies:
  p: {filters: {attachments: `
	type list struct {
		Depth int `yaml:"depth"`
	}
	type archives struct {
		Depth  int   `yaml:"depth"`
		Octets int64 `yaml:"octets"`
		Ratio  int   `yaml:"ratio"`
	}
	type wide struct {
		Classes  map[string]verb `yaml:"classes"`
		Names    map[string]verb `yaml:"names"`
		Archives archives        `yaml:"archives"`
		Other    archives        `yaml:"other"`
		Lists    map[string]list `yaml:"lists"`
		Notice   string          `yaml:"notice"`
		Most     *int            `yaml:"most"`
	}
	defaults := func() wide {
		return wide{Classes: map[string]verb{"executable": "reject", "bomb": "reject"}, Archives: archives{Depth: 3, Ratio: 200}}
	}
	decode := func(policy, text string) (o wide, err error) {
		c, err := Parse("t", []byte(head+text+"}}\n"), kinds)
		if err != nil {
			t.Fatal(err)
		}
		o = defaults()
		return o, c.Filter("attachments").DecodeFor(policy, &o)
	}
	for _, tt := range []struct {
		over string
		want func(*wide)
	}{
		{"{}", func(*wide) {}},
		{"{classes: {macro: null}}", func(o *wide) { delete(o.Classes, "macro") }},
		{"{classes: {executable: null}}", func(o *wide) { o.Classes["executable"] = "reject" }}, // the filter's default
		{"{classes: null}", func(o *wide) { o.Classes = defaults().Classes }},
		{"{lists: {a.example: off}}", func(o *wide) { delete(o.Lists, "a.example") }},
		{"{lists: {a.example: false, b.example: ~, c.example: {depth: 3}}}", func(o *wide) { o.Lists = map[string]list{"c.example": {3}} }},
		{"{lists: {a.example: {depth: null}}}", func(o *wide) { o.Lists["a.example"] = list{} }},
		{"{archives: {depth: null}}", func(o *wide) { o.Archives.Depth = 3 }},
		{"{archives: off, notice: null, most: null}", func(o *wide) {
			o.Archives, o.Notice, o.Most = defaults().Archives, "", nil
		}},
	} {
		want, err := decode("default", tt.over) // which has none of its own
		if err != nil {
			t.Fatal(err)
		}
		tt.want(&want)
		got, err := decode("p", tt.over)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tt.over, err, diff)
		}
	}
	for over, want := range map[string]string{
		"{lists: {a.exmple: off}}":     "t:7:49: there is nothing that could be taken out here; did you mean a.example?",
		"{lists: {other.test: null}}":  "t:7:51: there is nothing that could be taken out here\n",
		"{other: null}":                "t:7:38: there is nothing that could be taken out here\n",
		"{names: off}":                 "t:7:38: there is nothing that could be taken out here\n",
		"{classes: {bomb: null}}":      "t:7:47: must be a value, and is nothing",
		"{classes: {macro: off}}":      "t:7:48: unknown action off; allowed: pass",
		"{archives: {ratio: null}}":    "t:7:49: has no value",
		"{archives: {depht: null}}":    `t:7:42: unknown key "depht"; did you mean depth?`,
		"{lists: {a.example: {x: ~}}}": `t:7:51: unknown key "x"`,
	} {
		if _, err := decode("p", over); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", over, err)
		}
	}
}
