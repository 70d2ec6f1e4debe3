package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func names(s *Set) (all []string) {
	for _, r := range s.Rules() {
		all = append(all, r.Name)
	}
	return all
}

func TestConditions(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"if (version >= 4.000000)\nbody A /a/\nendif\nbody B /b/", "A B"},
		{"if (version < 4.000000)\nbody A /a/\nendif\nbody B /b/", "B"},
		{"if (version < 4)\nbody A /a/\nelse\nbody B /b/\nendif", "B"},
		{"if (version > 4)\nbody A /a/\nelse\nbody B /b/\nendif", "A"},
		{"ifplugin Mail::SpamAssassin::Plugin::HTMLEval\nbody A /a/\nendif", "A"},
		{"ifplugin Mail::SpamAssassin::Plugin::Nothing\nbody A /a/\nendif", ""},
		{"if !plugin(Mail::SpamAssassin::Plugin::Nothing)\nbody A /a/\nendif", "A"},
		{"if can(Mail::SpamAssassin::Conf::feature_bug6558_free)\nbody A /a/\nendif", "A"},
		{"if (can(Mail::SpamAssassin::Conf::feature_of_tomorrow))\nbody A /a/\nendif", ""},
		{"if has(Mail::SpamAssassin::Conf::feature_capture_rules) && (version >= 4)\nbody A /a/\nendif", "A"},
		{"if local_tests_only\nbody A /a/\nelse\nbody B /b/\nendif", "A"},
		{"if (version < 4)\nif (version > 3)\nbody A /a/\nelse\nbody B /b/\nendif\nbody C /c/\nendif\nbody D /d/", "D"},
		{"if (version > 4)\nif (version < 3)\nbody A /a/\nelse\nbody B /b/\nendif\nbody C /c/\nendif", "B C"},
		{"require_version 4.000001\nbody A /a/", "A"},
		{"require_version 3.004000\nbody A /a/", ""},
		{"require_version @@VERSION@@\nbody A /a/", "A"},
		{"IfPlugin Mail::SpamAssassin::Plugin::FreeMail\nBODY A /a/\nENDIF", "A"},
		{"lang de body A /a/\nlang en body B /b/", "B"},
		{"if has(Mail::SpamAssassin::Plugin::WLBLEval::check_from_in_welcomelist)\nbody A /a/\nendif", "A"},
		{"if can(Mail::SpamAssassin::Plugin::WLBLEval::check_from_in_welcomelist)\nbody A /a/\nendif", ""},
		{"if can(Mail::SpamAssassin::Plugin::HashBL::has_hashbl_emails)\nbody A /a/\nendif", "A"},
		{"if has(Mail::SpamAssassin::Plugin::Nothing::check_from_in_welcomelist)\nbody A /a/\nendif", ""},
		// Lines that are wrong are as if they were not there, as in SpamAssassin.
		{"if (version >= 5.0.2)\nbody A /a/\nendif\nbody B /b/", "A B"},
		{"if\nbody A /a/", "A"},
		{"ifplugin\nbody A /a/", "A"},
		{"if (version < 4)\nbody A /a/\nelse if (version > 4)\nbody B /b/\nendif it\nbody C /c/\nendif\nbody D /d/", "D"},
		{"require_version\nbody A /a/", "A"},
	} {
		s, _ := load(t, c.text, Options{})
		if got := strings.Join(names(s), " "); got != c.want {
			t.Errorf("%q: %q, not %q", c.text, got, c.want)
		}
	}
}

// TestFaults: each is told with its line and the reason.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ text, why string }{
		{"if (version > 4)\nbody A /a/", "no endif"},
		{"endif", "endif without"},
		{"else", "else without"},
		{"if (wombat)\nendif", "cannot be asked for"},
		{"if can(\nendif", "parentheses"},
		{"if", "does not say what for: the line is not taken"},
		{"ifplugin # X", "does not say what for"},
		{"if (version >= 5.0.2)", "read as if it were not there"},
		{"if has(feature_capture_rules)\nendif", "is no method of a module"},
		{"else if (version > 5)", `else: nothing may follow, and "if (version > 5)" does`},
		{"endif X", `endif: nothing may follow, and "X" does`},
		{"require_version", "the version is missing"},
		{"wombat 1", "no keyword"},
		{"body", "is missing"},
		{"body 1A /a/", "no name of a rule"},
		{"body A-B /a/", "no name of a rule"},
		{"body " + strings.Repeat("A", 101) + " /a/", "more than 100"},
		{"body A", "what to look for"},
		{"body A a", "between delimiters"},
		{"body A /a", "no / at its end"},
		{"body A /a/b/", "needs a backslash"},
		{"body A /a/e", "modifiers"},
		{`body A m\a\`, "between delimiters"},
		{"body A /(/", "not supported"},
		{`body A /[\Q.\E]/`, `\Q stands for nothing`},
		{`body A /a\y/`, `\y stands for nothing`},
		{"mimeheader A exists:Content-Id", "a mimeheader asks for no field's being there"},
		{`body A /(a)\1/n`, "not supported"},
		{"header A Subject", "neither FIELD"},
		{"header A eval:x", "a function stands"},
		{"header A eval:x(@)", "quotes"},
		{"header A eval:x('a)", "no quote"},
		{"score A", "1 or 4"},
		{"score A x", "no number"},
		{"score A 1 2", "1 or 4"},
		{"score A (1)", "nothing was set before"},
		{"score A (1", "no number"},
		{"score A 1e9", "no number"},
		{"priority A x", "no number"},
		{"tflags A", "no flag is named"},
		{"replace_tag A", "does not say what for"},
		{"replace_rules", "does not say what for"},
		{"enlist_uri_host LIST evil.example", "the name of a list in parentheses is needed"},
		{"enlist_addrlist VIPS *@board.example", "the name of a list in parentheses"},
		{"whitelist_from_rcvd *@partner.example", "the host that it comes by"},
		{"blacklist_from", `nothing is named, and there is ""`},
		{"welcomelist_from_dkim a@b.example c d", "at most one domain"},
		{"util_rb_2tld foo", "two labels"},
		{"util_rb_3tld a.b.c d.e", "three labels"},
		{"freemail_max_body_emails ten", "a number is needed"},
		{"test A maybe x", "ok or fail"},
		{"include other.cf", "can be included"},
	} {
		_, problems := load(t, "\n"+c.text, Options{})
		i := slices.IndexFunc(problems, func(p Problem) bool { return p.Severity == Fault })
		if i < 0 || !strings.Contains(problems[i].What, c.why) || problems[i].Line != 2 || problems[i].File != "test.cf" {
			t.Errorf("%q: no fault that says %q: %v", c.text, c.why, problems)
		}
	}
}

func TestLimits(t *testing.T) {
	deep := strings.Repeat("if (version > 4)\n", 150) + strings.Repeat("endif\n", 150)
	for _, c := range []struct{ name, text, why string }{
		{"a long line", "body A /" + strings.Repeat("a", maxLine) + "/\n", "a line of"},
		{"many ifs", deep, "within one another"},
		{"tags that grow", "replace_tag A " + strings.Repeat("<B>", 100) + "\nreplace_tag B " + strings.Repeat("<C>", 100) +
			"\nreplace_tag C " + strings.Repeat("<D>", 100) + "\nreplace_tag D " + strings.Repeat("d", 100) + "\nbody X /<A>/\nreplace_rules X\n", "tags make a pattern"},
	} {
		_, problems := load(t, c.text, Options{})
		if len(problems) == 0 || !strings.Contains(problems[0].What, c.why) {
			t.Errorf("%s: %v", c.name, problems[:min(len(problems), 3)])
		}
	}
	if _, _, err := Load([]Source{{Name: "a", Octets: make([]byte, maxOctets+1)}}, Options{}); err == nil {
		t.Error("a file of any size is read")
	}
	var many strings.Builder
	for i := range maxRules + 1 {
		fmt.Fprintf(&many, "meta A%d 0\n", i)
	}
	if _, _, err := Load([]Source{{Name: "a", Octets: []byte(many.String())}}, Options{}); err == nil {
		t.Error("any number of rules is read")
	}
	_, problems := load(t, strings.Repeat("wombat\n", maxProblems+5), Options{})
	if len(problems) != maxProblems+1 || !strings.Contains(problems[maxProblems].What, "5 problems more") {
		t.Errorf("%d problems", len(problems))
	}
}

func TestTheLastDefinitionCounts(t *testing.T) {
	s := mustLoad(t, "body A /a/\nheader A Subject =~ /x/\nmeta A 0\nbody B /b/")
	if r := s.Rule("A"); r.Class != Meta || r.At.Line != 3 || len(s.Rules()) != 2 {
		t.Errorf("%+v", r)
	}
}

// TestAnEarlierDefinitionStays: what SpamAssassin does not take displaces nothing. So its 4.0.1 does with each of these lines.
func TestAnEarlierDefinitionStays(t *testing.T) {
	for _, c := range []struct {
		earlier, later string
		stays          bool
	}{
		{"body A /two/", "body A /two(?=/", true},
		{"body A /two/", "body A /[\\w-.]two/", true},
		{"body A /two/", "body A /two{x}/", true},
		{"body A /two/", "body A /two/g", true},
		{"body A /two/", "body A two", true},
		{"body A /two/", "header A Subject =~ /number(/", true},
		{"body A /two/", "header A Subject =~ /number/", false},
		{"body A /two/", "header A exists:Subject", false},
		{"header A Subject =~ /number/", "header A Subject =~ number", true},
		{"header A Subject =~ /number/", "header A Subject =~ /%{X}/", false},
		{"uri A /example/", "uri A /(?<=a+)x/", true},
		{"uri A /example/", "uri_detail A raw =~ /example/ text =~ /x(/", true},
		{"uri A /example/", "uri_detail A raw =~ /example/ text =~ /x/", false},
		{"mimeheader A Content-Type =~ /text/", "mimeheader A Content-Type =~ /text(/", true},
		{"mimeheader A Content-Type =~ /text/", "mimeheader A Content-Type =~ /%{X}/", true},
		{"body A eval:html_tag_exists('a')", "body A /two(/", true},
		{"body A /two/", "body A eval:nothere()", false},
		{"meta A 1", "meta A B &&", true},
		{"meta A 1", "meta A B C", true},
		{"meta A 1", "meta A B / C", true},
		{"meta A 1", "meta A B || rules_matching(C_*)", false},
		{"meta A 1", "meta A ()", false},
		{"meta A 1", "body A /\\p{L}/", false}, // not supported here, and a pattern
	} {
		s, problems := load(t, c.earlier+"\n"+c.later+"\n", Options{})
		told := slices.ContainsFunc(problems, func(p Problem) bool {
			return p.Line == 2 && p.Severity == Fault && p.Rule == "A" && strings.Contains(p.What, "what test.cf:1 says stays")
		})
		if stayed := s.Rule("A").At.Line == 1; stayed != c.stays || told != c.stays {
			t.Errorf("%s, then %s: stayed: %v, %v", c.earlier, c.later, stayed, problems)
		}
		if hits := len(runOn(t, s, letter).Hits); c.stays && hits != 1 {
			t.Errorf("%s, then %s: %d hits", c.earlier, c.later, hits)
		}
	}
}

func TestScores(t *testing.T) {
	text := "body A /a/\nscore A 1 2 3 4\nscore A (0.5)\nbody B /b/\nbody T_C /c/\nbody D /d/\ntflags D nice\nbody __E /e/\nscore F 3\nbody F /f/\ntflags F nice"
	for _, c := range []struct {
		o           Options
		a, b, tc, d float64
	}{
		{Options{}, 1.5, 1, 0.01, -1},
		{Options{Network: true}, 2.5, 1, 0.01, -1},
		{Options{Learner: true}, 3.5, 1, 0.01, -1},
		{Options{Network: true, Learner: true}, 4.5, 1, 0.01, -1},
	} {
		s, _ := load(t, text, c.o)
		for name, want := range map[string]float64{"A": c.a, "B": c.b, "T_C": c.tc, "D": c.d, "__E": 0, "F": 3} {
			if got := s.Score(s.Rule(name)); got != want {
				t.Errorf("%+v: %s scores %v, not %v", c.o, name, got, want)
			}
		}
	}
}

func TestCommentsAndBlanks(t *testing.T) {
	s := mustLoad(t, "  # a comment\n\tbody   A   /a\\#b/i   # another\n\ndescribe A  What it is  \r\ntflags A multiple  maxhits=3\n")
	r := s.Rule("A")
	if r.Text != "/a#b/i" || r.Description != "What it is" || !slices.Equal(r.Flags, []string{"multiple", "maxhits=3"}) {
		t.Errorf("%+v", r)
	}
}

func TestInclude(t *testing.T) {
	files := map[string]string{"/etc/rules/b.cf": "body B /b/\ninclude sub/c.cf\n", "/etc/rules/sub/c.cf": "body C /c/\ninclude /etc/rules/sub/c.cf"}
	open := func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, fmt.Errorf("open %s: no such file", name)
	}
	s, problems, err := Load([]Source{{Name: "/etc/rules/a.cf", Octets: []byte("include b.cf\nbody A /a/\ninclude x.cf\n")}}, Options{Open: open})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(s), " "); got != "B C A" {
		t.Errorf("rules: %s", got)
	}
	if len(problems) != 2 || problems[0].What != "include x.cf: open /etc/rules/x.cf: no such file" && problems[1].What != "include /etc/rules/sub/c.cf: it would include itself" {
		t.Errorf("problems: %v", problems)
	}
	for i := range 20 {
		files[fmt.Sprintf("/deep/%d.cf", i)] = fmt.Sprintf("include %d.cf\n", i+1)
	}
	_, problems, err = Load([]Source{{Name: "/deep/a.cf", Octets: []byte("include 0.cf\n")}}, Options{Open: open})
	if err != nil || len(problems) != 1 || problems[0].Position.String() != "/deep/9.cf:1" || problems[0].What != "include /deep/10.cf: more than 10 files within one another" {
		t.Errorf("a deep one: %v, %v", problems, err)
	}
}

func TestReplaceTags(t *testing.T) {
	set := "replace_tag A [a4]\nreplace_tag B (?:b|8)\nreplace_tag C x<A>\nreplace_pre P p*\nreplace_inter I [-_]?\nreplace_post Q q+\n"
	for _, c := range []struct{ expr, want string }{
		{"<A><B>", "[a4](?:b|8)"},
		{"<inter I><A><B>z", "[a4][-_]?(?:b|8)z"},
		{"<pre P><A>c<B>", "p*[a4]cp*(?:b|8)"},
		{"<post Q><A>", "[a4]q+"},
		{"<C>", "x[a4]"},
		{"<inter I>z<A>z<B>", "z[a4]z(?:b|8)"},
		{"(?<!x)<A>", "(?<!x)[a4]"},
		{"<nothing><A>", "<nothing>[a4]"},
		{"<a href>", "<a href>"},
		{"<", "<"},
		{"<>", "<>"},
		{"<pre ", "<pre "},
	} {
		r := newReplacement()
		for line := range strings.Lines(set) {
			key, value := word(strings.TrimSpace(line))
			if known, err := r.set(key, value); !known || err != nil {
				t.Fatal(line, err)
			}
		}
		if got, err := r.apply(c.expr); got != c.want || err != nil {
			t.Errorf("%s: %q, %v, not %q", c.expr, got, err, c.want)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"'a'", []string{"a"}},
		{` "a b" , 'c"d',12,-0.5 ,host.example:25`, []string{"a b", `c"d`, "12", "-0.5", "host.example:25"}},
		{"''", []string{""}},
	} {
		if got, err := readArguments(c.text); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, %v", c.text, got, err)
		}
	}
}

// FuzzParse: whatever a file holds, loading it ends, and what was loaded runs.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"body A /a/i\nscore A 1 2 3 4\ndescribe A x\ntflags A multiple maxhits=2\n",
		"header __B From:addr =~ /(?<NAME>.+)/\nuri C m{^https?://%{NAME}}i\nmeta D (A + __B > 1) && !C\n",
		"if (version >= 4) && !plugin(Mail::SpamAssassin::Plugin::X)\nrawbody E /<A><B>/\nelse\nfull E /x/\nendif\nreplace_rules E\nreplace_tag A [a]\nreplace_inter I x\n",
		"mimeheader F Content-Type:raw !~ /x/ [if-unset: y]\ntflags F range=1-2 concat\nheader G exists:X\nheader H eval:check_x('a', \"b\", 3)\n",
		"meta I rules_matching(A*) / 2 ^ 3 ? 1 : 0\nmeta J I\nmeta I J\nlang de body A /x/\nrequire_version 3\n",
		"uri_detail L raw =~ /a\\/b/i text !~ m!x y! host =~ m{z}\ntrusted_networks !10.0.0.1 10/8 [2001:db8::]/32\nclear_trusted_networks\nmsa_networks 1.2/255.0.0.0\nmeta M L > 1 > 0 == 1\ntflags L x\nscore K 1\nbody N /a(b)\\N{U+66}/n\n",
		"replace_start [\nreplace_end ]\nreplace_tag A [A]\nbody K /[A]/\nreplace_rules K\ninclude x\npriority K -5\ntest K ok text\n",
	} {
		f.Add(seed, "text a b")
	}
	f.Fuzz(func(t *testing.T, file, text string) {
		if len(file) > 20_000 || len(text) > 2000 {
			return
		}
		s, problems, err := Load([]Source{{Name: "fuzz.cf", Octets: []byte(file)}}, Options{})
		if err != nil {
			return
		}
		for _, p := range problems {
			if p.File != "fuzz.cf" || p.Line < 1 || p.What == "" {
				t.Errorf("a problem nowhere: %+v", p)
			}
		}
		for _, r := range s.Rules() {
			if r.test.meta != nil {
				value(r.test.meta, make([]float64, len(s.rules)))
			}
		}
		runOn(t, s, text)
	})
}

// TestNothingIsSilent: what does nothing here is told, once for each keyword and feature.
func TestNothingIsSilent(t *testing.T) {
	for _, c := range []struct {
		name, text string
		severity   Severity
		why        string
	}{
		{"reports", "report a\nreport b", Note, "report does nothing here"},
		{"learner", "bayes_auto_learn 1", Note, "the filter bayes"},
		{"thresholds", "required_score 4", Inexact, "the policies' keys"},
		{"the usual threshold", "required_score 5", Note, ""},
		{"a short circuit", "body A /a/\nshortcircuit A ham", Inexact, "all rules run"},
		{"no short circuit", "body A /a/\nshortcircuit A off", Note, ""},
		{"network", "skip_rbl_checks 1", Inexact, "scores"},
		{"network, as it is", "skip_rbl_checks 0", Note, ""},
		{"links of signatures", "parse_dkim_uris 0", Inexact, "are links"},
		{"links of signatures, as it is", "parse_dkim_uris 1", Note, ""},
		{"macros", "olemacro_exts (?:doc|dot)", Inexact, "what reads it is not here"},
		{"languages", "ok_locales en", Inexact, "never hit"},
		{"languages, all", "ok_locales all", Note, ""},
		{"a feature", "if can(Mail::SpamAssassin::Conf::feature_subjprefix)\nendif\nif can(Mail::SpamAssassin::Conf::feature_subjprefix)\nendif", Note, "feature_subjprefix counts as being here"},
		{"a feature that is here", "if can(Mail::SpamAssassin::Conf::feature_capture_rules)\nendif", Note, ""},
		{"what is not known", "if has(Mail::SpamAssassin::Plugin::HTMLEval::html_wombat)\nendif", Inexact, "html_wombat is not known here"},
		{"what is known not to be there", "if can(Mail::SpamAssassin::Plugin::HTMLEval::has_wombat)\nendif\nif has(Mail::SpamAssassin::Plugin::X::y)\nendif", Note, ""},
		{"a plugin", "ifplugin Mail::SpamAssassin::Plugin::Pyzor\nendif", Note, "never hit"},
		{"groups of what does not match", "header A Subject !~ /(?<X>x)/", Inexact, "is not kept"},
		{"a capture that no rule has", "header __T To =~ /(?<TO>.+)/\nbody A /%{TU}/", Inexact, "no rule captures %{TU}"},
		{"a capture of a rule that does not run", "header T To =~ /(?<TO>.+)/\nscore T 0\nbody A /%{TO}/", Inexact, "no rule that runs captures %{TO}"},
		{"a capture that there is", "header __T To =~ /(?<TO>.+)/\nbody A /%{TO}/", Note, ""},
		{"a capture that no rule has, of one that does not run", "body A /%{TU}/\nscore A 0", Note, ""},
		{"the learner", "body B eval:check_bayes('0.99', '1.00')", Inexact, "never hits: the learner's word comes from the filter bayes"},
		{"the learner, where it is not asked", "body B eval:check_bayes('0.99', '1.00')\ntflags B learn", Note, ""},
		{"digests", "full D eval:check_pyzor()", Inexact, "never hits: Pyzor"},
		{"response codes", "askdns A _AUTHORDOMAIN_ A [NXDOMAIN,ServFail]", Inexact, "never hits: response codes"},
		{"a function of headers for a body", "body E eval:check_from_in_blacklist()", Inexact, "is for rules of the kind header, not body"},
		{"a function of bodies for a header", "header E eval:html_tag_exists('a')", Inexact, "is for rules of the kind body, not header"},
		{"a function of bodies for a raw body", "rawbody E eval:html_tag_exists('a')", Note, ""},
		{"a function for all", "body E eval:check_no_relays()\nheader F eval:check_no_relays()", Note, ""},
		{"hashes", "body H eval:check_hashbl_emails('bl.example')", Inexact, "never hits: no list of hashes"},
		{"groups of a part's field", "mimeheader A Content-Type =~ /(?<X>x)/", Note, ""},
		{"groups of a part's field that does not match", "mimeheader A Content-Type !~ /(?<X>x)/", Inexact, "is not kept"},
		{"a capture in a part's field", "header A To =~ /(?<X>x)/\nmimeheader B Content-Type =~ /%{X}/", Fault, "takes no %{X}"},
		{"a capture in what is asked of links", "header A To =~ /(?<X>x)/\nuri_detail B raw =~ /%{X}/", Fault, "a brace that begins no count"},
		{"a capture behind a backslash", "header A To =~ /(?<X>x)/\nbody B /\\%{X}/", Fault, "a brace that begins no count"},
		{"a capture that is never there, and a field that must not match", "header A To !~ /%{NONE}/", Inexact, "never hits: no rule captures %{NONE}"},
	} {
		_, problems := load(t, c.text, Options{})
		if c.why == "" {
			if len(problems) > 0 {
				t.Errorf("%s: %v", c.name, problems)
			}
			continue
		}
		if len(problems) != 1 || problems[0].Severity != c.severity || !strings.Contains(problems[0].What, c.why) {
			t.Errorf("%s: %v", c.name, problems)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(idleKeys)) {
		if key == "lang" || key == "ifplugin" || key == "redirector_pattern" || key == "adsp_override" || strings.HasPrefix(key, "fns_") || strings.Contains(key, "originating_ip") {
			continue // taken elsewhere
		}
		if _, problems := load(t, key+" x", Options{}); len(problems) != 1 {
			t.Errorf("%s: %v", key, problems)
		}
	}
}
