package mail

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseAddress(t *testing.T) {
	long := func(n int) string { return strings.Repeat("a", n) }
	labels := func(n int) string {
		return strings.Repeat(strings.Repeat("d", 49)+".", n/50) + strings.Repeat("d", n%50)
	}
	tests := []struct {
		name, in, local, domain string // domain "-": refused
	}{
		{"plain", "user@example.org", "user", "example.org"},
		{"case of the domain", "User@Example.ORG", "User", "example.org"},
		{"dots", "a.b.c@example.org", "a.b.c", "example.org"},
		{"all of atext", "!#$%&'*+-/=?^_`{|}~09azAZ@x", "!#$%&'*+-/=?^_`{|}~09azAZ", "x"},
		{"percent hack is a local part", "user%foreign@example.org", "user%foreign", "example.org"},
		{"quoted", `"a b"@x`, `"a b"`, "x"},
		{"quoted without need", `"ab"@x`, `"ab"`, "x"},
		{"quoted at", `"user@foreign"@x`, `"user@foreign"`, "x"},
		{"quoted bracket", `"a@foreign> X"@x`, `"a@foreign> X"`, "x"},
		{"quoted pair", `"a\"\\\ b"@x`, `"a\"\\\ b"`, "x"},
		{"quoted empty", `""@x`, `""`, "x"},
		{"quoted UTF-8", `"ü ü"@x`, `"ü ü"`, "x"},
		{"UTF-8", "füße@x", "füße", "x"},
		{"U-label", "a@Bücher.example", "a", "xn--bcher-kva.example"},
		{"A-label", "a@XN--bcher-kva.example", "a", "xn--bcher-kva.example"},
		{"ideographic full stop", "a@例え。jp", "a", "xn--r8jz45g.jp"},
		{"dot at the end", "a@example.org.", "a", "example.org"},
		{"underscore", "a@_dmarc.my_host", "a", "_dmarc.my_host"},
		{"hyphens", "a@-r3---sn-.example", "a", "-r3---sn-.example"},
		{"one label", "root@localhost", "root", "localhost"},
		{"IPv4 literal", "a@[192.0.2.1]", "a", "[192.0.2.1]"},
		{"IPv6 literal", "a@[ipv6:2001:DB8:0::1]", "a", "[IPv6:2001:db8::1]"},
		{"IPv6 literal with IPv4", "a@[IPv6:::ffff:192.0.2.1]", "a", "[IPv6:::ffff:192.0.2.1]"},
		{"postmaster", "postmaster", "postmaster", ""},
		{"Postmaster", "POSTmaster", "POSTmaster", ""},
		{"long local part", long(65) + "@x", long(65), "x"},
		{"longest local part", long(252) + "@x", long(252), "x"},
		{"longest path", long(64) + "@" + labels(189), long(64), labels(189)},

		{"empty", "", "", "-"},
		{"no domain", "user", "", "-"},
		{"empty domain", "user@", "", "-"},
		{"only a dot", "user@.", "", "-"},
		{"no local part", "@x", "", "-"},
		{"brackets", "<a@x>", "", "-"},
		{"two at signs", "a@b@c", "", "-"},
		{"dot first", ".a@x", "", "-"},
		{"dot last", "a.@x", "", "-"},
		{"two dots", "a..b@x", "", "-"},
		{"blank", "a b@x", "", "-"},
		{"comment", "a(b)@x", "", "-"},
		{"text behind the quotes", `"a"b@x`, "", "-"},
		{"quotes amid", `a"b"@x`, "", "-"},
		{"no end of quotes", `"a@x`, "", "-"},
		{"backslash before the end", `"a\"@x`, "", "-"},
		{"quoted postmaster", `"postmaster"`, "", "-"},
		{"postmaſter", "poſtmaster", "", "-"},
		{"CR LF in the local part", "a\r\nb@x", "", "-"},
		{"CR LF in quotes", "\"a\r\nb\"@x", "", "-"},
		{"LF behind a backslash", "\"a\\\nb\"@x", "", "-"},
		{"NUL in quotes", "\"\x00\"@x", "", "-"},
		{"tab in quotes", "\"\t\"@x", "", "-"},
		{"DEL in quotes", "\"\x7f\"@x", "", "-"},
		{"C1 control", "a\u0085b@x", "", "-"},
		{"escaped UTF-8", `"\ü"@x`, "", "-"},
		{"malformed UTF-8", "a\xff@x", "", "-"},
		{"malformed UTF-8 in the domain", "a@x\xff", "", "-"},
		{"CR LF in the domain", "a@x\r\nDATA", "", "-"},
		{"LF at the end", "a@x\n", "", "-"},
		{"bracket in the domain", "a@x>", "", "-"},
		{"blank in the domain", "a@x y", "", "-"},
		{"empty label", "a@x..y", "", "-"},
		{"two dots at the end", "a@x..", "", "-"},
		{"full-width at sign", "a@b＠c", "", "-"},
		{"full-width bracket", "a@ü＞", "", "-"},
		{"sign that maps to a slash", "a@℀ü", "", "-"},
		{"malformed A-label beside a U-label", "a@xn--a.ü", "", "-"},
		{"label of 64", "a@" + long(64), "", "-"},
		{"literal without end", "a@[192.0.2.1", "", "-"},
		{"literal with a tail", "a@[192.0.2.1]x", "", "-"},
		{"IPv4 out of range", "a@[192.0.2.256]", "", "-"},
		{"IPv6 without tag", "a@[2001:db8::1]", "", "-"},
		{"IPv4 with tag", "a@[IPv6:192.0.2.1]", "", "-"},
		{"IPv6 with zone", "a@[IPv6:fe80::1%eth0]", "", "-"},
		{"empty literal", "a@[]", "", "-"},
		{"general literal", "a@[tag:content]", "", "-"},
		{"local part of 253", long(253) + "@x", "", "-"},
		{"path of 257", long(64) + "@" + labels(190), "", "-"},
		{"domain of 256", "a@" + labels(256), "", "-"},
		{"a mebibyte of ü", "a@" + strings.Repeat("ü", 1<<19), "", "-"},
		{"a mebibyte of quotes", `"` + strings.Repeat(`\"`, 1<<19), "", "-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := ParseAddress(tt.in)
			if tt.domain == "-" {
				if err == nil {
					t.Fatalf("%q was read as %+v", tt.in, a)
				}
				if !a.IsZero() {
					t.Errorf("refused, but not zero: %+v", a)
				}
				return
			}
			if err != nil || a.Local() != tt.local || a.Domain() != tt.domain {
				t.Fatalf("got %q, %q, %v", a.Local(), a.Domain(), err)
			}
			checkAddress(t, a)
		})
	}
}

// checkAddress checks what holds for every Address.
func checkAddress(t interface {
	Helper()
	Fatalf(string, ...any)
}, a Address,
) {
	t.Helper()
	s := a.String()
	if i := strings.IndexFunc(s, isControl); i >= 0 || !utf8.ValidString(s) || len(s) > 254 {
		t.Fatalf("%q is not fit for the wire", s)
	}
	if !isASCII(a.Domain()) || a.IsASCII() != isASCII(s) {
		t.Fatalf("%q: IsASCII is %v", s, a.IsASCII())
	}
	if a.IsZero() != (s == "") {
		t.Fatalf("%q: IsZero is %v", s, a.IsZero())
	}
	path, err := ParsePath("<" + s + ">")
	if err != nil || path != a {
		t.Fatalf("<%s> was read as %q, %v", s, path, err)
	}
	if a.IsZero() {
		return
	}
	again, err := ParseAddress(s)
	if err != nil || again != a {
		t.Fatalf("%q was read again as %q, %v", s, again, err)
	}
}

func TestParsePath(t *testing.T) {
	tests := []struct{ name, in, want string }{ // want "-": refused
		{"null", "<>", ""},
		{"plain", "<user@example.org>", "user@example.org"},
		{"postmaster", "<Postmaster>", "Postmaster"},
		{"source route", "<@a:user@x>", "user@x"},
		{"longer source route", "<@a.example,@b.example:user@x>", "user@x"},
		{"route over a literal", "<@[IPv6:2001:db8::1],@[192.0.2.1]:user@x>", "user@x"},
		{"quoted with a bracket", `<"a>b"@x>`, `"a>b"@x`},
		{"no brackets", "user@x", "-"},
		{"no end", "<user@x", "-"},
		{"one bracket", "<", "-"},
		{"nothing", "", "-"},
		{"text behind", "<user@x> SIZE=1", "-"},
		{"two paths", "<user@x><user@y>", "-"},
		{"blank", "< user@x>", "-"},
		{"route without mailbox", "<@a:>", "-"},
		{"route without colon", "<@a>", "-"},
		{"route without domain", "<@:user@x>", "-"},
		{"route with a comma too many", "<@a,:user@x>", "-"},
		{"route with a bad domain", "<@a b:user@x>", "-"},
		{"route over half a literal", "<@[192.0.2.1:user@x>", "-"},
		{"route over a literal only", "<@[192.0.2.1]>", "-"},
		{"two routes", "<@a:@b:user@x>", "-"},
		{"endless route", "<" + strings.Repeat("@a,", 1000) + "@a:user@x>", "-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := ParsePath(tt.in)
			if tt.want == "-" {
				if err == nil {
					t.Errorf("%q was read as %q", tt.in, a)
				}
				return
			}
			if err != nil || a.String() != tt.want {
				t.Errorf("got %q, %v", a, err)
			}
		})
	}
}

func TestAddressViews(t *testing.T) {
	tests := []struct {
		name, in, unquoted, mailbox string
		quoted, ascii               bool
	}{
		{"plain", "User.Name@x", "User.Name", "user.name@x", false, true},
		{"needless quotes", `"User.Name"@x`, "User.Name", "user.name@x", false, true},
		{"needless backslash", `"\User"@x`, "User", "user@x", false, true},
		{"quotes", `"a \"b\\"@x`, `a "b\`, `a "b\@x`, true, true},
		{"dots", `"a..b"@x`, `a..b`, `a..b@x`, true, true},
		{"empty", `""@x`, "", "@x", true, true},
		{"UTF-8 keeps its case", "ÜA@x", "ÜA", "Üa@x", false, false},
		{"postmaster", "Postmaster", "Postmaster", "postmaster@", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := ParseAddress(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if a.Unquoted() != tt.unquoted || a.Mailbox() != tt.mailbox || a.IsQuoted() != tt.quoted || a.IsASCII() != tt.ascii {
				t.Errorf("got %q, %q, %v, %v", a.Unquoted(), a.Mailbox(), a.IsQuoted(), a.IsASCII())
			}
		})
	}
	if m := (Address{}).Mailbox(); m != "" {
		t.Errorf("the null reverse-path has the key %q", m)
	}
}

func TestAddressText(t *testing.T) {
	type record struct {
		From Address
		Ids  map[Address]int
	}
	a, err := ParseAddress(`"a \"b"@x`)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(record{Ids: map[Address]int{a: 1}})
	if err != nil {
		t.Fatal(err)
	}
	r := record{From: a}
	if err := json.Unmarshal(text, &r); err != nil || !r.From.IsZero() || r.Ids[a] != 1 {
		t.Errorf("%s was read as %+v, %v", text, r, err)
	}
	if err := json.Unmarshal([]byte(`{"From":"a\nb@x"}`), &r); err == nil {
		t.Errorf("a line feed was read as %q", r.From)
	}
}

func TestDomain(t *testing.T) {
	tests := []struct{ in, want string }{ // want "": refused
		{"Example.ORG.", "example.org"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.example.", "xn--bcher-kva.example"},
		{"faß.de", "xn--fa-hia.de"}, // not transitional: faß is not fass
		{"_x._y.z", "_x._y.z"},
		{"192.0.2.1", "192.0.2.1"},
		{"xn--zz", "xn--zz"}, // not ours to judge
		{"", ""},
		{".", ""},
		{"..", ""},
		{".a", ""},
		{"a..", ""},
		{"a.。", ""},
		{"*.example.org", ""},
		{"a/b", ""},
		{"a:b", ""},
		{"[192.0.2.1]", ""},
		{"a\x00", ""},
		{"a\n", ""},
		{"\u200d.example", ""},
		{"a\u00ad\n", ""},
	}
	for _, tt := range tests {
		got, err := Domain(tt.in)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("Domain(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
		if err == nil {
			if again, err := Domain(got); again != got || err != nil {
				t.Errorf("Domain(%q) = %q, %v", got, again, err)
			}
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"a@x", `"a b"@[192.0.2.1]`, "<@a,@b:c@d>", "postmaster", "ü@ü.example", `"\""@x`, "a@b@c", "a@[IPv6:::1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (Address, error){ParseAddress, ParsePath} {
			a, err := parse(s)
			if err != nil {
				if a != (Address{}) {
					t.Fatalf("%q: %v, but %+v", s, err, a)
				}
				continue
			}
			checkAddress(t, a)
		}
		if d, err := Domain(s); err == nil {
			if again, err := Domain(d); again != d || err != nil {
				t.Fatalf("Domain(%q) = %q, then %q, %v", s, d, again, err)
			}
		}
	})
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		domain, base string
		want         bool
	}{
		{"example.org", "example.org", true},
		{"a.b.example.org", "example.org", true},
		{"example.org", "a.example.org", false},
		{"badexample.org", "example.org", false},
		{"example.org", "org", true},
		{"example.org.", "example.org", false},
		{"example.org", "", false},
		{"", "example.org", false},
		{"", "", false},
	} {
		if got := Within(c.domain, c.base); got != c.want {
			t.Errorf("%q within %q: %v", c.domain, c.base, got)
		}
	}
}
