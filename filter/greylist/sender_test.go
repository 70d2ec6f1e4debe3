package greylist

import (
	"strings"
	"testing"

	"github.com/postern-mail/postern/mail"
)

func address(t testing.TB, s string) mail.Address {
	t.Helper()
	if s == "" {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPlain(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"as it is", "Bob.Smith@Example.COM", "", "bob.smith@example.com"},
		{"null", "", "u@ours.example", "<>"},
		{"quoted", `"Bob Smith"@example.com`, "", "bob smith@example.com"},
		{"a name with a number", "bob85@example.com", "", "bob85@example.com"},

		{"BATV", "prvs=1234abcdef=bob@example.com", "", "bob@example.com"},
		{"BATV, upper case", "PRVS=1234ABCDEF=Bob@example.com", "", "bob@example.com"},
		{"BATV, the other way round", "prvs=bob/1234abcdef@example.com", "", "bob@example.com"},
		{"Barracuda's", "btv1==12345678abc==bob@example.com", "", "bob@example.com"},
		{"SparkPost's", "msprvs1=19876abCDefGh=bounces-12345@bounces.example.com", "", "bounces-#@bounces.example.com"},
		{"BATV without a mailbox", "prvs=1234abcdef=@example.com", "", "prvs=#=@example.com"},
		{"BATV without a tag", "prvs=bob@example.com", "", "prvs=bob@example.com"},

		{"SRS0", "SRS0=HHHH=TT=example.com=bob@forwarder.example", "", "bob@example.com>forwarder.example"},
		{"SRS0, another day", "SRS0=xyz1=AB=example.com=bob@forwarder.example", "", "bob@example.com>forwarder.example"},
		{"SRS0 with +", "SRS0+HHHH=TT=example.com=bob@forwarder.example", "", "bob@example.com>forwarder.example"},
		{"SRS0 with -", "srs0-HHHH=TT=example.com=bob@forwarder.example", "", "bob@example.com>forwarder.example"},
		{"SRS1", "SRS1=GGGG=first.example==HHHH=TT=example.com=bob@second.example", "", "bob@example.com>second.example"},
		{"SRS1 of SRS0-", "SRS1=GGGG=first.example=-HHHH=TT=example.com=bob@second.example", "", "bob@example.com>second.example"},
		{"SRS0 of BATV", "SRS0=HHHH=TT=example.com=prvs=1234abcdef=bob@forwarder.example", "", "bob@example.com>forwarder.example"},
		{"SRS0 of SRS0", "SRS0=A=B=first.example=SRS0=C=D=example.com=bob@second.example", "", "bob@example.com>first.example>second.example"},
		{"SRS0 cut off", "SRS0=HHHH=TT=example.com@forwarder.example", "", "@forwarder.example"},
		{"Exchange Online's", "bounces+SRS=44ldt=IX@contoso.example", "", "bounces@contoso.example"},

		{"VERP", "list-bounces+user=ours.example@lists.example", "user@ours.example", "list-bounces@lists.example"},
		{"VERP with -", "owner-list-user=ours.example@lists.example", "user@ours.example", "owner-list@lists.example"},
		{"VERP of a recipient with a hyphen", "list-bounces-jean-luc=ours.example@lists.example", "Jean-Luc@ours.example", "list-bounces@lists.example"},
		{"VERP before a number", "bounces+12345-6f3a-user=ours.example@em.example", "user@ours.example", "bounces@em.example"},
		{"VERP of somebody else", "list-bounces+other=elsewhere.example@lists.example", "user@ours.example", "list-bounces@lists.example"},
		{"VERP and nothing else", "user=ours.example@verp.example", "user@ours.example", "@verp.example"},

		{"a detail", "bob+news@example.com", "", "bob@example.com"},
		{"a leading plus", "+49301234567@example.com", "", "+#@example.com"},
		{"numbers", "bounce-834_HTML-1234-567-99-0@bounce.example.com", "", "bounce-#_html-#-#-#-#@bounce.example.com"},
		{"SES", "0100018f2b3c4d5e-1a2b3c4d-1234-4abc-8def-0123456789ab-000000@amazonses.example", "", "#-#-#-#-#-#-#@amazonses.example"},
		{"a long key", "m.qx7ztp4kw9v2ls8hr3bn6d@example.com", "", "m.#@example.com"},
		{"a word of hexadecimal letters", "dead.beef@example.com", "", "dead.beef@example.com"},
		{"not ASCII", "jürgen+x@example.com", "", "jürgen@example.com"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := plain(address(t, c.from), address(t, c.to)); got != c.want {
				t.Errorf("%q, not %q", got, c.want)
			}
		})
	}
}

// FuzzPlain: what is taken out is taken out of every address, and tags that are put on do not count.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{
		"bob@example.com", "prvs=1234abcdef=bob@example.com", "SRS0=HHHH=TT=example.com=bob@f.example",
		"SRS1=GGGG=first.example==HHHH=TT=example.com=bob@second.example", "bounces+SRS=44ldt=IX@c.example",
		"list-bounces+user=ours.example@lists.example", `"a b=c"@x.example`, "srs0=====@x", "srs1=a==b@x", "a=b=c=d=e.f@x", "+=+=.@[192.0.2.1]",
	} {
		f.Add(s, "user@ours.example")
	}
	f.Fuzz(func(t *testing.T, from, to string) {
		a, err := mail.ParseAddress(from)
		if err != nil {
			return
		}
		b, err := mail.ParseAddress(to)
		if err != nil {
			b = mail.Address{}
		}
		got := plain(a, b)
		if !strings.HasSuffix(got, "@"+a.Domain()) && !strings.HasSuffix(got, ">"+a.Domain()) {
			t.Errorf("%q of %q is of another domain", got, a)
		}
		if len(got) > len(from)+maxNested+len(a.Domain()) {
			t.Errorf("%q of %q has grown", got, from)
		}
		if got != plain(a, b) {
			t.Error("twice, and not the same")
		}
		// A tag of today and one of tomorrow come to the same.
		one, err1 := mail.ParseAddress("prvs=0123456789=" + from)
		two, err2 := mail.ParseAddress("prvs=9876543210=" + from)
		if err1 == nil && err2 == nil && plain(one, b) != plain(two, b) {
			t.Errorf("%q and %q", plain(one, b), plain(two, b))
		}
	})
}
