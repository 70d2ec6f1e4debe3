package dmarc

import (
	"strings"
	"testing"
)

func TestParseRecord(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"smallest", "v=DMARC1", "p=none unusable"},
		{"policy", "v=DMARC1; p=reject", "p=reject"},
		{"blanks", "v = DMARC1 ;\tp\t= quarantine ; ", "p=quarantine"},
		{"no blanks", "v=DMARC1;p=reject;sp=none;np=quarantine", "p=reject sp=none np=quarantine"},
		{"case of words", "V=DMARC1; P=Reject; ADKIM=S; aspf=R; PSD=Y; T=Y", "p=reject adkim=s psd=y t=y"},
		{
			"all tags", "v=DMARC1; p=reject; adkim=s; aspf=s; fo=1:d:s; np=reject; psd=n; rua=mailto:a@example.org; ruf=mailto:b@example.org; sp=reject; t=n",
			"p=reject sp=reject np=reject adkim=s aspf=s psd=n fo=1:d:s rua=mailto:a@example.org ruf=mailto:b@example.org",
		},
		{"unknown tags", "v=DMARC1; x=1; p=reject; pct=0; rf=afrf; ri=3600", "p=reject"},
		{"junk", "v=DMARC1;;; junk; =; p=reject;; ;", "p=reject"},
		{"p is not second", "v=DMARC1; rua=mailto:a@example.org; p=reject", "p=reject rua=mailto:a@example.org"},
		{"twice: the first", "v=DMARC1; p=reject; p=none", "p=reject"},
		{"bad defaults", "v=DMARC1; p=reject; adkim=x; aspf=strict; psd=maybe; t=1; fo=0:1; ruf=mailto:a@example.org", "p=reject ruf=mailto:a@example.org"},
		{"fo without ruf", "v=DMARC1; p=reject; fo=1", "p=reject"},
		{"no p with rua", "v=DMARC1; rua=mailto:a@example.org", "p=none rua=mailto:a@example.org"},
		{"bad p with rua", "v=DMARC1; p=block; rua=https://example.org/x", "p=none rua=https://example.org/x"},
		{"bad p without rua", "v=DMARC1; p=block", "p=none unusable"},
		{"bad p with bad rua", "v=DMARC1; p=block; rua=a@example.org", "p=none rua=a@example.org unusable"},
		{"rua with size", "v=DMARC1; rua=mailto:a@example.org!10m", "p=none rua=mailto:a@example.org!10m"},
		{"second rua is good", "v=DMARC1; rua=mailto:, mailto:a@example.org", "p=none rua=mailto:, mailto:a@example.org"},
		{"bad sp with rua", "v=DMARC1; p=reject; sp=x; rua=mailto:a@example.org", "p=none rua=mailto:a@example.org"},
		{"bad np without rua", "v=DMARC1; p=reject; np=", "p=none unusable"},
		{"octets in p", "v=DMARC1; p=rej\xffect", "p=none unusable"},
		{"octets in another", "v=DMARC1; x=\x00; p=reject", "p=reject"},

		{"no version", "p=reject", "no record"},
		{"version second", "p=reject; v=DMARC1", "no record"},
		{"version in lower case", "v=dmarc1; p=reject", "no record"},
		{"next version", "v=DMARC2; p=reject", "no record"},
		{"longer version", "v=DMARC10; p=reject", "no record"},
		{"no semicolon", "v=DMARC1 p=reject", "no record"},
		{"blank before", " v=DMARC1; p=reject", "no record"},
		{"SPF", "v=spf1 -all", "no record"},
		{"empty", "", "no record"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, ok := parseRecord(c.text)
			got := "no record"
			if ok {
				got = r.words()
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// words writes what departs from the defaults.
func (r *record) words() string {
	psd, test := string(r.psd), ""
	if r.test {
		test = "y"
	}
	var all []string
	for _, p := range [][3]string{
		{"p", r.p},
		{"sp", r.sp},
		{"np", r.np},
		{"adkim", r.adkim, "r"},
		{"aspf", r.aspf, "r"},
		{"psd", psd, "u"},
		{"t", test},
		{"fo", r.fo, "0"},
		{"rua", r.rua},
		{"ruf", r.ruf},
	} {
		if p[1] != p[2] {
			all = append(all, p[0]+"="+p[1])
		}
	}
	if r.unusable != "" {
		all = append(all, "unusable")
	}
	return strings.Join(all, " ")
}

func TestHostileRecords(t *testing.T) {
	for name, text := range map[string]string{
		"tags":       "v=DMARC1; p=reject" + strings.Repeat(";", 65000),
		"long tag":   "v=DMARC1; p=reject; " + strings.Repeat("x", 65000) + "=1",
		"long value": "v=DMARC1; p=reject; x=" + strings.Repeat("y", 65000),
		"URIs":       "v=DMARC1; p=reject; rua=" + strings.Repeat("mailto:,", 8000),
	} {
		if r, ok := parseRecord(text); !ok || r.p != reject {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// A policy behind more tags than are read is none.
	many := "v=DMARC1"
	for i := range 200 {
		many += "; x" + strings.Repeat("y", i) + "=1"
	}
	if r, _ := parseRecord(many + "; p=reject"); r.unusable == "" {
		t.Errorf("%+v", r)
	}
}

func FuzzRecord(f *testing.F) {
	for _, s := range []string{
		"v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; psd=y; t=y", "v=DMARC1; p=none; rua=mailto:a@example.org!10m,https://x/",
		"v=DMARC1; p=x; fo=1:d:s; ruf=mailto:a@example.org", "V = DMARC1 ; P = REJECT ;", "v=DMARC1;;=;p",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := parseRecord(text)
		if !ok {
			return
		}
		for _, p := range []string{r.p, r.sp, r.np} {
			if p != "" && severity[p] == 0 && p != none {
				t.Errorf("policy %q", p)
			}
		}
		if r.p == "" || r.adkim != "r" && r.adkim != "s" || r.aspf != "r" && r.aspf != "s" || !strings.ContainsRune("ynu", rune(r.psd)) {
			t.Errorf("%+v", r)
		}
		if r.unusable != "" && r.p != none {
			t.Errorf("unusable, and asks for %s", r.p)
		}
		if again, ok := parseRecord(text + "; unknown=1"); !ok || again.words() != r.words() && !strings.Contains(strings.ToLower(text), "unknown") && strings.Count(text, ";") < maxTags-1 {
			t.Errorf("an unknown tag makes %s of %s", again.words(), r.words())
		}
	})
}
