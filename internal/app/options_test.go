package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/learner"
)

// checked gives what check says of a configuration that has these lines more, which begin with line 5, without excerpts.
func checked(t *testing.T, more string) (faults []string, warnings string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "t.yaml")
	text := "hostname: mx.example.org\nlisteners: {public: {address: \":25\"}}\nroutes: [{to: [example.org], upstream: inside}]\nupstreams: {inside: {servers: [\"10.1.0.9:25\"]}}\n"
	if err := os.WriteFile(file, []byte(text+more), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	a, err := New(Options{Config: file, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Check(); err != nil {
		for line := range strings.Lines(err.Error()) {
			if !strings.Contains(line[:min(len(line), 9)], "| ") {
				faults = append(faults, strings.TrimSpace(strings.ReplaceAll(line, file+":", "")))
			}
		}
	}
	return faults, errs.String()
}

// TestOptionPlaces: what a filter minds in its options is told at the key, be it in the list of filters or in a policy.
func TestOptionPlaces(t *testing.T) {
	for name, tt := range map[string]struct{ more, want string }{
		"dnsbl: code": {
			"filters:\n- dnsbl:\n    lists:\n      zen.bl.example:\n        codes:\n          127.0.0.2: {symbol: A, weight: 1}\n          128.0.0.2: {symbol: B, weight: 1}\n",
			`11:11: dnsbl: lists: zen.bl.example: codes: "128.0.0.2": no code begins`,
		},
		"dnsbl: symbol": {
			"filters:\n- dnsbl:\n    lists:\n      zen.bl.example:\n        codes:\n          127.0.0.2: {symbol: b, weight: 1}\n",
			`10:31: dnsbl: lists: zen.bl.example: codes: 127.0.0.2: "b" can't be a symbol`,
		},
		"dnsbl: of":     {"filters:\n- dnsbl:\n    lists:\n      a.example:\n        weight: 1\n        of: [helo, moon]\n", `10:20: dnsbl: lists: a.example: of: "moon" is none of`},
		"dnsbl: weight": {"filters:\n- dnsbl:\n    lists:\n      a.example:\n        reason: true\n", `8:7: dnsbl: lists: a.example: weight is missing`},
		"dnsbl: skip":   {"filters:\n- dnsbl:\n    lists: {a.example: {weight: 1}}\n    skip: [a.example, .]\n", `8:23: dnsbl: skip: "." is no domain`},
		"dnsbl: budget": {"filters:\n- dnsbl:\n    lists: {a.example: {weight: 1}}\n    budget: 1h\n", `8:13: dnsbl: budget: from 100ms`},

		"rules: a policy that is there without being written": {"policies: {default: {filters: {rules: {scores: netw}}}}\n", `5:48: rules: scores: "netw"; allowed: local`},
		"rules: files of it":        {"policies: {default: {filters: {rules: {files: [/nonexist]}}}}\n", `5:48: rules: stat /nonexist`},
		"rules: files":              {"filters:\n- rules:\n    files:\n    - ../../rules/default/*.cf\n    - /nonexist\n", `9:7: rules: stat /nonexist`},
		"rules: another policy":     {"policies: {p: {filters: {rules: {scores: netw}}}}\n", `5:42: rules: scores: "netw"`},
		"rules: networks":           {"filters:\n- rules:\n    trusted: [10.0.0.0/8, 10.1.2.3/8]\n", `7:27: rules: trusted: 10.1.2.3/8 has bits beyond`},
		"a list, seen by a policy":  {"filters:\n- bayes:\n    samples: 1000\npolicies: {default: {filters: {bayes: {least: 5000}}}}\n", `7:14: bayes: samples: 1000; allowed: as many as least (5000)`},
		"bayes: least":              {"filters:\n- bayes:\n    words: true\n    least: 5\n", `8:12: bayes: least: 5; allowed: 20 to 100000`},
		"bayes: least, not samples": {"filters:\n- bayes:\n    words: true\n    least: 20000\n", `8:12: bayes: samples: 10000; allowed: as many as least (20000)`},
		"bayes: half_life":          {"filters:\n- bayes:\n    words: true\n    half_life: 5h\n", `8:16: bayes: half_life: 5h0m0s; allowed: 1d`},
		"bayes: autolearn": {
			"filters:\n- rules\n- bayes:\n    autolearn:\n      ham: 0.1\n      spam: 3\n", `10:13: bayes: autolearn: spam: 3; allowed: from 6 on`,
		},
		"bayes: half of it":  {"filters:\n- rules\n- bayes:\n    autolearn: {ham: 0.1}\n", `8:5: bayes: autolearn: ham: 0.1 alone; allowed: spam from 6`},
		"greylist: retry":    {"filters:\n- greylist:\n    delay: 1h\n    retry: 2h\n", `8:12: greylist: retry: 2h0m0s; allowed: four times`},
		"access: entries":    {"filters:\n- access:\n    block_entries: [a.example, x x]\n", `7:32: access: block_entries:2: "x" is unknown here`},
		"access: no file":    {"filters:\n- access:\n    allow:\n    block_entries: [a.example]\n", `7:11: access: a file is needed, or a list of files, and this is <nil>`},
		"access: file":       {"filters:\n- access:\n    allow: /nonexist\n", `7:12: access: open /nonexist`},
		"attachments":        {"filters:\n- attachments:\n    keep_original: true\n    notice: /nonexist\n", `8:13: attachments: notice: open /nonexist`},
		"clamd: connect":     {"filters:\n- clamd:\n    parallel: 1\n    connect: 1h\n", `8:14: clamd: connect: from 10ms`},
		"clamd: server":      {"filters:\n- clamd:\n    servers: [\"a:1\", b]\n", `7:22: clamd: servers: "b"`},
		"clamd: signature":   {"filters:\n- clamd:\n    signatures:\n      PUA.*: tag\n      Eicar: burn\n", `9:14: clamd: signatures: Eicar: "burn" is none`},
		"milter: expect":     {"filters:\n- milter:\n    servers: [\"a:1\"]\n    expect: [X-A, X B]\n", `8:19: milter: expect: "X B"`},
		"rspamd: actions":    {"filters:\n- rspamd:\n    actions:\n      reject: burn\n", `8:15: rspamd: actions: reject: "burn"`},
		"rspamd: headers":    {"filters:\n- rspamd:\n    headers: [X-A, Received]\n", `7:20: rspamd: headers: "Received"`},
		"rspamd: password":   {"filters:\n- rspamd:\n    factor: 1\n    password_file: /nonexist\n", `8:20: rspamd: password_file: open /nonexist`},
		"http: symbols":      {"filters:\n- http:\n    servers: [\"http://a/\"]\n    symbols: {A: 1, b: 1}\n", `8:24: http: symbols: "b" can't`},
		"http: ca_file":      {"filters:\n- http:\n    servers: [\"https://a/\"]\n    ca_file: /nonexist\n", `8:14: http: ca_file: open /nonexist`},
		"external: exempt":   {"filters:\n- external:\n    exempt: [example.org, \"a b\"]\n", `7:27: external: exempt: "a b"`},
		"external: text":     {"filters:\n- external:\n    subject: X\n    text: /nonexist\n", `8:11: external: text: open /nonexist`},
		"dmarc":              {"filters:\n- spf\n- dkim\n- dmarc:\n    list: burn\n", `9:11: unknown value "burn"`},
		"dkim":               {"filters:\n- dkim:\n    signatures: 1000\n", `7:17: dkim: signatures: 1000`},
		"heuristics":         {"filters:\n- heuristics:\n    off: [MISSING_DATE, NO_SUCH]\n", `7:25: heuristics: off: "NO_SUCH"`},
		"heuristics: sender": {"filters:\n- heuristics:\n    off: []\n    sender_domain: odd\n", `8:20: heuristics: sender_domain: "odd"`},
		"pregreet":           {"filters:\n- pregreet:\n    off: [NO_SUCH]\n", `7:11: pregreet: off: "NO_SUCH"`},
		"a filter as a whole": {
			"filters:\n- bayes\n- bayes: {name: second}\n", `6:3: bayes: there is one learner`,
		},
		"a symbol, nearly":   {"filters: [bayes]\npolicies: {default: {weights: {BAYES_SPAMM: 2}}}\n", `6:45: unknown symbol BAYES_SPAMM, which no filter of the list has; did you mean BAYES_SPAM?`},
		"a symbol of a rule": {"policies: {default: {weights: {P_EXTORTIN: 3}}}\n", `5:44: unknown symbol P_EXTORTIN, which no filter of the list has; did you mean P_EXTORTION?`},
		"a symbol like none": {"policies: {default: {weights: {QQQQ: 3}}}\n", `5:38: unknown symbol QQQQ, which no filter of the list has`},
	} {
		t.Run(name, func(t *testing.T) {
			faults, _ := checked(t, tt.more)
			if len(faults) == 0 || !strings.HasPrefix(faults[0], tt.want) || len(faults[0]) > 400 {
				t.Errorf("got %q\nwant %s", faults, tt.want)
			}
		})
	}
}

// TestUnknownSymbols: all of them are told, in the same order each time.
func TestUnknownSymbols(t *testing.T) {
	faults, _ := checked(t, "policies: {default: {weights: {ZZZZ: 1, QQQQ: 1, MISSING_DATE: 1, P_EXTORTIN: 2}}}\n")
	var symbols []string
	for _, f := range faults {
		symbols = append(symbols, strings.TrimSuffix(strings.Fields(f)[3], ","))
	}
	if got := strings.Join(symbols, " "); got != "P_EXTORTIN QQQQ ZZZZ" {
		t.Errorf("got %q", faults)
	}
}

// TestInVain: what would do nothing is refused, for nothing in the file is without effect in silence.
func TestInVain(t *testing.T) {
	const learns = "filters: [rules, {bayes: {autolearn: {ham: 0.1, spam: 12}}}]\n"
	for name, tt := range map[string]struct{ more, want string }{
		"off: a rule":      {"filters:\n- rules:\n    off: [P_EXTORTION, P_*]\n", ""},
		"off: no rule":     {"filters:\n- rules:\n    off: [P_EXTORTION, NO_SUCH_RULE]\n", `7:24: rules: off: no rule is called "NO_SUCH_RULE"`},
		"off: misspelled":  {"filters:\n- rules:\n    off: [P_EXTORTIN]\n", `7:11: rules: off: no rule is called "P_EXTORTIN"; did you mean P_EXTORTION?`},
		"off: no such *":   {"filters:\n- rules:\n    off: [SUBJECTS_*]\n", `7:11: rules: off: no rule is called "SUBJECTS_*"`},
		"off: in a policy": {"policies: {p: {filters: {rules: {off: [NO_SUCH_RULE]}}}}\n", `5:40: rules: off: no rule`},

		"plugins: SpamAssassin's": {"filters:\n- rules:\n    plugins: [TextCat, ASN, SPF]\n", ""},
		"plugins: nobody's":       {"filters:\n- rules:\n    plugins: [TextCat, Nope]\n", `7:24: rules: plugins: "Nope" is no plugin of SpamAssassin's, and no file asks for it; allowed: ASN, AWL,`},

		"internal: within trusted":     {"filters:\n- rules:\n    trusted: [10.0.0.0/8, \"2001:db8::/32\"]\n    internal: [10.1.0.0/16, 10.0.0.0/8, 127.0.0.1, \"2001:db8::1\"]\n", ""},
		"internal: alone":              {"filters:\n- rules: {internal: [10.1.0.0/16]}\n", ""},
		"internal: another":            {"filters:\n- rules:\n    trusted: [10.0.0.0/8]\n    internal: [10.1.0.0/16, 192.0.2.0/24]\n", `8:29: rules: internal: 192.0.2.0/24 lies in no one network of trusted`},
		"internal: wider than trusted": {"filters:\n- rules:\n    trusted: [10.1.0.0/16]\n    internal: [10.0.0.0/8]\n", `8:16: rules: internal: 10.0.0.0/8 lies in no one network of trusted`},

		"autolearn":                            {learns, ""},
		"autolearn: no rules":                  {"filters:\n- bayes:\n    autolearn: {ham: 0.1, spam: 12}\n", `7:5: bayes: autolearn does nothing where no filter of the kind rules runs`},
		"autolearn: no rules for some":         {learns + "policies: {p: {filters: {rules: off}}}\n", ""},
		"autolearn: rules for nobody":          {learns + "policies: {default: {filters: {rules: off}}}\n", `5:27: bayes: autolearn does nothing`},
		"autolearn: of a policy without rules": {"filters: [rules, bayes]\npolicies: {p: {filters: {rules: off, bayes: {autolearn: {ham: 0, spam: 9}}}}}\n", `6:46: bayes: autolearn does nothing`},
		"autolearn: off":                       {"filters: [{bayes: {autolearn: off}}]\n", ""},
		"autolearn: off in a policy":           {learns + "policies: {p: {filters: {bayes: {autolearn: off}}}}\n", ""},
		"autolearn: null in a policy":          {learns + "policies: {p: {filters: {bayes: {autolearn: null}}}}\n", ""},
		"autolearn: null where none is":        {"filters: [rules, bayes]\npolicies: {p: {filters: {bayes: {autolearn: null}}}}\n", ""},
		"autolearn: another word":              {"filters: [{bayes: {autolearn: on}}]\n", `5:31: must be a mapping, and is "on"; allowed: ham, spam`},
		"bayes: one learner":                   {"filters: [bayes]\npolicies: {p: {filters: {bayes: {least: 50}}}}\n", `6:41: least of bayes counts for all policies together: it is set where the filter is listed; allowed: words, autolearn`},
		"bayes: of the default policy":         {"filters: [bayes]\npolicies: {default: {filters: {bayes: {least: 50, samples: 500, half_life: 30d}}}}\n", ""},
		"bayes: words":                         {"filters: [bayes]\npolicies: {p: {filters: {bayes: {words: false}}}}\n", ""},

		"dnsbl: bare":              {"filters: [spf, dnsbl]\n", `5:16: dnsbl has nothing to do: lists names none`},
		"dnsbl: no lists":          {"filters:\n- dnsbl: {lists: {}}\n", `6:3: dnsbl has nothing to do: lists names none`},
		"dnsbl: lists of a policy": {"filters: [dnsbl]\npolicies: {p: {filters: {dnsbl: {lists: {a.example: {weight: 1}}}}}}\n", ""},
		"dnsbl: off where none is": {"filters: [{dnsbl: {lists: {a.example: {weight: 1}}}}]\npolicies: {p: {filters: {dnsbl: {lists: {a.example: off}}}}}\n", ""},
		"dnsbl: off":               {"filters: [dnsbl]\npolicies: {default: {filters: {dnsbl: off}}}\n", ""},
		"rules: none":              {"filters:\n- rules: {files: [], default: false}\n", `6:3: rules has nothing to do: default is false, and files names none`},
		"access: none":             {"filters: [access]\n", `5:11: access has nothing to do: neither allow nor block`},
		"access: one":              {"filters: [{access: {block_entries: [a.example]}}]\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			faults, warnings := checked(t, tt.more)
			got := strings.Join(faults, "\n")
			if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) || warnings != "" {
				t.Errorf("got %q, and %s\nwant %s", got, warnings, tt.want)
			}
		})
	}
}

// TestCheckReadsTheLearner: a store that serve would refuse is refused by check, by its name. One that is open elsewhere is not disturbed.
func TestCheckReadsTheLearner(t *testing.T) {
	state := t.TempDir()
	more := "filters: [bayes]\nstate: {directory: " + state + "}\n"
	if faults, _ := checked(t, more); len(faults) > 0 {
		t.Errorf("no store: %q", faults)
	}
	if _, err := os.Stat(filepath.Join(state, "learner")); err == nil {
		t.Error("check has made a store")
	}
	s, err := learner.Open(filepath.Join(state, "learner"), learner.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if faults, _ := checked(t, more); len(faults) > 0 {
		t.Errorf("an open store: %q", faults)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(state, "learner", "lessons")
	octets, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	octets[len(octets)-1] = 0x7f // of the version
	if err := os.WriteFile(file, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	if faults, _ := checked(t, more); len(faults) != 1 || !strings.Contains(faults[0], "written by a newer version") || !strings.HasSuffix(faults[0], ", in "+file) {
		t.Errorf("of a newer version: %q", faults)
	}
	if faults, _ := checked(t, strings.Replace(more, "bayes", "spf", 1)); len(faults) > 0 {
		t.Errorf("nobody asks it: %q", faults)
	}
}
