package eval

import "testing"

// settingsOf makes Settings of pairs of keys and arguments.
func settingsOf(t testing.TB, lines ...[2]string) *Settings {
	t.Helper()
	s := &Settings{}
	for i, l := range lines {
		if ok, err := s.Add(l[0], l[1], Position{"test.cf", i + 1}); !ok || err != nil {
			t.Fatalf("%s: %v, %v", l[0], ok, err)
		}
	}
	return s
}

func TestRegistry(t *testing.T) {
	stock := [][2]string{
		{"util_rb_tld", "wrong"}, {"clear_util_rb", ""}, {"util_rb_tld", "com uk us xn--p1ai"}, {"util_rb_2tld", "co.uk"}, {"util_rb_3tld", "a.b.com"},
	}
	for _, c := range []struct{ host, domain string }{
		{"www.example.com", "example.com"},
		{"example.com", "example.com"},
		{"a.example.co.uk", "example.co.uk"},
		{"co.uk", "co.uk"},
		{"x.y.a.b.com", "y.a.b.com"},
		{"x.y.city.ca.us", "y.city.ca.us"},
		{"x.school.pvt.k12.ca.us", "school.pvt.k12.ca.us"},
		{"A..Example.COM.", "example.com"},
		{"localhost", "localhost"},
		{"", ""},
	} {
		if got := registryOf(settingsOf(t, stock...)).trim(c.host); got != c.domain {
			t.Errorf("%s: %s", c.host, got)
		}
	}
	for name, r := range map[string]*registry{"stock": registryOf(settingsOf(t, stock...)), "public suffixes": registryOf(&Settings{})} {
		for _, c := range []struct{ uri, host, domain string }{
			{"HTTP://www.Example.com:80/a?b@c.com", "www.example.com", "example.com"},
			{"mailto:a@b.example.com?x=y@z", "b.example.com", "example.com"},
			{"http://user@x.example.com@www.example.co.uk/", "www.example.co.uk", "example.co.uk"},
			{"http://192.0.2.1/", "192.0.2.1", "192.0.2.1"},
			{"www.example.com#x", "www.example.com", "example.com"},
			{"javascript:x.example.com", "", ""},
			{"http://ex%61mple.com/", "", ""},
			{"http://a.wrong_tld/", "", ""},
			{"http://localhost/", "", ""},
			{"http://-a.example.com/", "", ""},
			{"http://a_b.example.com", "a_b.example.com", "example.com"},
			{"http://a_b.com", "", ""},
			{"mailto:a@b@c.com", "", ""},
			{"http://x.nosuchtld/", "", ""},
		} {
			if host, domain, _ := r.hostOf(c.uri); host != c.host || domain != c.domain {
				t.Errorf("%s: %s: %q, %q", name, c.uri, host, domain)
			}
		}
	}
}

func TestMismatches(t *testing.T) {
	html := func(s string) string { return "Content-Type: text/html\n\n" + s }
	calls(t, "another domain", html("<a href='http://www.example.net/'>https://www.example.com/</a>"), call{"check_https_http_mismatch", 1},
		call{"check_https_http_mismatch 1 10", 1}, call{"check_https_http_mismatch 2 10", 0}, call{"check_https_http_mismatch 1 1", 0})
	calls(t, "the same domain", html("<a href='http://www.example.com/'>https://example.com/</a>"), call{"check_https_http_mismatch", 0})
	calls(t, "no address", html("<a href='http://www.example.net/'>here</a>"), call{"check_https_http_mismatch", 0})
	calls(t, "a number", html("<a href='http://192.0.2.1/'>https://www.example.com/</a>"), call{"check_https_ip_mismatch", 1}, call{"check_https_http_mismatch", 0})
	calls(t, "the same number", html("<a href='http://192.0.2.1/'>https://192.0.2.1/</a>"), call{"check_https_ip_mismatch", 0})
}

func TestBounceRelays(t *testing.T) {
	s := settingsOf(t, [2]string{"whitelist_bounce_relays", "relay?.Example.com *.bench.test"})
	for _, c := range []struct {
		name, message string
		want          int
	}{
		{"quoted", "Subject: a\n\n> Received: from x by relay1.example.com (Postfix)\n", 1},
		{"attached", "Content-Type: multipart/report; boundary=a\n\n--a\nContent-Type: message/rfc822\n\nReceived: from y\n  by mx.bench.test with SMTP\n\nb\n--a--\n", 1},
		{"somebody else's", "Subject: a\n\nReceived: from x by relay.example.org (Postfix)\n", 0},
		{"another field", "Subject: a\n\nX: by relay1.example.com (Postfix)\n", 0},
		{"our own header", "Received: from x by mx.bench.test with SMTP\nSubject: a\n\nb\n", 0},
	} {
		if got := value(t, mailOf(t, c.message), s, "check_welcomelist_bounce_relays"); got != c.want {
			t.Errorf("%s: %d", c.name, got)
		}
	}
	calls(t, "none set", "Subject: a\n\nb\n", call{"have_any_bounce_relays", 0}, call{"check_welcomelist_bounce_relays", 0})
	if value(t, mailOf(t, "Subject: a\n\nb\n"), s, "have_any_bounce_relays") != 1 {
		t.Error("there are relays")
	}
}
