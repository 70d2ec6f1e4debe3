package users

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/mail"
)

// cheap is a hash of "secret" that costs nothing.
const cheap = "$argon2id$v=19$m=8,t=1,p=1$c29tZSBzYWx0$AAAAAAAAAAAAAAAAAAAAAA"

// cheapHash hashes with next to no work.
func cheapHash(t testing.TB, password string) string {
	t.Helper()
	p, err := prepare(password)
	if err != nil {
		t.Fatal(err)
	}
	h := Hash{memory: 8, time: 1, threads: 1, salt: "some salt", sum: strings.Repeat("x", 16)}
	h.sum = string(h.sumOf(p))
	return h.String()
}

func list(t testing.TB, text string) *List {
	t.Helper()
	l, err := Parse("users", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

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

func TestMaySend(t *testing.T) {
	for send, want := range map[string]map[string]bool{
		"ann@example.org": {
			"ann@example.org": true, "ANN@Example.org": true, `"ann"@example.org`: true, "": true,
			"bob@example.org": false, "ann@sub.example.org": false, "ann+x@example.org": false, `"ann@example.org"@evil.example`: false,
		},
		"example.org":                       {"x@example.org": true, "x@sub.example.org": false, "x@notexample.org": false, "": true},
		"*.example.org":                     {"x@sub.example.org": true, "x@a.b.example.org": true, "x@example.org": false, "x@notexample.org": false},
		"*":                                 {"x@anywhere.example": true, "": true},
		"a@x.example,b@y.example,z.example": {"a@x.example": true, "b@y.example": true, "q@z.example": true, "a@y.example": false},
		"bücher.example":                    {"x@xn--bcher-kva.example": true},
	} {
		u := list(t, "ann "+cheap+" send="+send+"\n").Find("ann")
		for from, may := range want {
			if got := u.MaySend(address(t, from)); got != may {
				t.Errorf("send=%s: %s: %v", send, from, got)
			}
		}
		if got := u.MaySendAsAnybody(); got != (send == "*") {
			t.Errorf("send=%s: as anybody: %v", send, got)
		}
	}
}

func TestParse(t *testing.T) {
	l := list(t, `# the users
ann@example.org `+cheap+` send=ann@example.org   # Ann
  App1	`+cheap+`	rate=200/1h,1000/2d	send=*
émile `+cheap+` send=example.org
`)
	if n := len(l.All()); n != 3 {
		t.Fatalf("%d users", n)
	}
	for name, want := range map[string]string{
		"ann@example.org": "ann@example.org", "ANN@Example.ORG": "ann@example.org", "app1": "App1", "e\u0301MILE": "émile",
		"ann": "", "": "", "ann@example.org ": "", "a\x00b": "", strings.Repeat("a", 256): "", "\xff": "",
	} {
		got := ""
		if u := l.Find(name); u != nil {
			got = u.Name
		}
		if got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	if r := l.Find("app1").Rates; len(r) != 2 || r[0] != (Rate{200, time.Hour}) || r[1] != (Rate{1000, 48 * time.Hour}) || r[1].String() != "1000/2d" {
		t.Errorf("rates %v", r)
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no hash", "ann", "users:1: ann has no hash"},
		{"plain password", "\nann secret send=*", "users:2: ann: a hash is needed"},
		{"another kind", "ann $2b$10$abc send=*", "must be argon2id"},
		{"argon2i", "ann " + strings.Replace(cheap, "argon2id", "argon2i", 1) + " send=*", "must be argon2id"},
		{"old version", "ann " + strings.Replace(cheap, "v=19", "v=16", 1) + " send=*", "must have the form"},
		{"no send", "ann " + cheap, "has no send="},
		{"empty send", "ann " + cheap + " send=", "is no domain"},
		{"bad address", "ann " + cheap + " send=a@b@c", "is no address"},
		{"star in a local part", "ann " + cheap + " send=*@example.org", "is no address"},
		{"unknown key", "ann " + cheap + " send=* rates=1/1h", `"rates=1/1h" is unknown; allowed: send=, rate=`},
		{"twice", "ann " + cheap + " send=* send=a.example", "send= is there twice"},
		{"same name", "ann " + cheap + " send=*\nANN " + cheap + " send=*", "users:2: ANN is there already, in line 1"},
		{"rate", "ann " + cheap + " send=* rate=5", "rate=5: must be"},
		{"rate of none", "ann " + cheap + " send=* rate=0/1h", "rate=0/1h: must be"},
		{"rate of a unit", "ann " + cheap + " send=* rate=5/1w", "rate=5/1w: must be"},
		{"rate that overflows", "ann " + cheap + " send=* rate=5/99999999999d", "must be"},
		{"much memory", "ann " + strings.Replace(cheap, "m=8", "m=4194304", 1) + " send=*", "use up this host"},
		{"many passes", "ann " + strings.Replace(cheap, "t=1", "t=1000000", 1) + " send=*", "use up this host"},
		{"no passes", "ann " + strings.Replace(cheap, "t=1", "t=0", 1) + " send=*", "must be 1 or more"},
		{"many lanes", "ann " + strings.Replace(cheap, "p=1", "p=255", 1) + " send=*", "must be 1 or more"},
		{"little memory", "ann " + strings.Replace(cheap, "m=8", "m=7", 1) + " send=*", "must be 1 or more"},
		{"odd base64", "ann " + cheap + "! send=*", "no base64"},
		{"short sum", "ann $argon2id$v=19$m=8,t=1,p=1$c29tZSBzYWx0$AAAA send=*", "must have a salt"},
		{"control character", "a\x01b " + cheap + " send=*", "a name is of letters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("users", strings.NewReader(tt.text+"\n"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %s", err, tt.want)
			}
		})
	}
}

// A file that changes is taken up, and one that is broken or became empty leaves the last good list in force.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	synctest.Test(t, func(t *testing.T) {
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			age := time.Now().Add(-time.Hour) // the file's clock is not the bubble's
			if err := os.Chtimes(path, age, age); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		write("ann " + cheap + " send=*\n")
		var told []string
		f, err := Open(path, func(err error) {
			if err == nil {
				told = append(told, "good")
			} else {
				told = append(told, strings.TrimPrefix(err.Error(), "users: "+path))
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			text, told string
			ann, bob   bool
		}{
			{"bob " + cheap + " send=*\n", "", false, true},
			{"ann secret send=*\n", ":1: ann: a hash is needed, $argon2id$…: postern user makes it", false, true},
			{"# nobody\n", ": nobody in it, 1 are in force: a list that became empty is taken at a reload only", false, true},
			{"ann " + cheap + " send=*\nbob " + cheap + " send=*\n", "good", true, true},
		} {
			told = nil
			write(step.text)
			l := f.List()
			if (l.Find("ann") != nil) != step.ann || (l.Find("bob") != nil) != step.bob || strings.Join(told, ";") != step.told {
				t.Errorf("%q: ann %v, bob %v, told %q", step.text, l.Find("ann"), l.Find("bob"), told)
			}
		}
	})
	if _, err := Open(path+".none", nil); err == nil {
		t.Error("a file that is not there was opened")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"ann@example.org " + cheap + " send=ann@example.org,example.org,*.example.org,* rate=1/1h # Ann\n",
		"émile " + cheap + " send=*\n", "ann $argon2id$v=19$m=8,t=1,p=1$$ send=*\n", "#\n\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse("users", strings.NewReader(text))
		if err != nil {
			return
		}
		for _, u := range l.All() {
			if l.Find(u.Name) != u {
				t.Errorf("%q is not found by its name", u.Name)
			}
			h, err := ParseHash(u.hash.String())
			if err != nil || h != u.hash {
				t.Errorf("%s: hash %s: %v", u.Name, u.hash, err)
			}
			for _, s := range u.Senders() {
				if _, err := parseSender(s); err != nil {
					t.Errorf("%s: %v", u.Name, err)
				}
			}
			for _, r := range u.Rates {
				if again, err := parseRate(r.String()); err != nil || again.Per != r.Per {
					t.Errorf("%s: rate %s: %v", u.Name, r, err)
				}
			}
		}
	})
}
