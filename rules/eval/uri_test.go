package eval

import (
	"slices"
	"testing"

	"github.com/postern-mail/postern/rules/text"
)

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

func TestTextOptions(t *testing.T) {
	s := settingsOf(t, [2]string{"util_rb_tld", "wrong"}, [2]string{"clear_util_rb", ""}, [2]string{"util_rb_tld", "com uk"},
		[2]string{"util_rb_2tld", "co.uk"}, [2]string{"util_rb_3tld", "a.b.com"}, [2]string{"originating_ip_headers", "X-A"},
		[2]string{"clear_originating_ip_headers", ""}, [2]string{"originating_ip_headers", "X-B X-C"},
		[2]string{"redirector_pattern", `/^http:\/\/go\.test\/(.*)$/i`}, [2]string{"redirector_pattern", `m'\?to=([^&]+)'`})
	o := s.Text()
	for host, domain := range map[string]string{"x.example.co.uk": "example.co.uk", "x.y.a.b.com": "y.a.b.com", "x.b.com": "b.com"} {
		if got := o.TLDs.Registered(host); got != domain {
			t.Errorf("%s: %s", host, got)
		}
	}
	if o.TLDs.Valid("a.wrong") || !o.TLDs.Valid("a.com") {
		t.Error("the top-level domains are others")
	}
	if !slices.Equal(o.Originating, []string{"X-B", "X-C"}) {
		t.Errorf("the fields are %q", o.Originating)
	}
	for uri, target := range map[string]string{"HTTP://go.test/a.example": "a.example", "http://x.test/?to=b.example&c": "b.example", "http://x.test/": ""} {
		if got, _ := o.Redirector.Target(uri); got != target {
			t.Errorf("%s leads to %s", uri, got)
		}
	}
	if p := s.Text(); p.TLDs != o.TLDs || p.Redirector != o.Redirector {
		t.Error("the second call gives others")
	}
	var none Settings
	if o := none.Text(); o.TLDs != text.DefaultTLDs || o.Redirector != nil || o.Originating != nil {
		t.Errorf("without settings it is %+v", o)
	}
	for _, bad := range []string{"", "x", "/a", "/(/", "m a a", "/a/q"} {
		if ok, err := none.Add("redirector_pattern", bad, Position{}); !ok || err == nil {
			t.Errorf("redirector_pattern %s: %v, %v", bad, ok, err)
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
	calls(t, "a redirector", html("<a href='http://www.example.com/?u=http://www.example.net/'>x</a>"), call{"check_for_http_redirector", 1})
	calls(t, "none", html("<a href='http://www.example.com/?u=http://example.com/'>x</a>"), call{"check_for_http_redirector", 0})
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

func TestHostLists(t *testing.T) {
	s := settingsOf(t, [2]string{"enlist_uri_host", "(BAD) example.com !good.example.com 192.0.2.1"}, [2]string{"blacklist_uri_host", "Block.com"},
		[2]string{"util_rb_tld", "com test"}, [2]string{"enlist_uri_host", "(GONE) example.com"}, [2]string{"delist_uri_host", "(GONE) example.com"})
	for _, c := range []struct {
		uri, function string
		want          int
	}{
		{"http://www.example.com/", "check_uri_host_listed BAD", 1},
		{"http://good.example.com/", "check_uri_host_listed BAD", 0},
		{"http://a.good.example.com/", "check_uri_host_listed BAD", 0},
		{"http://example.com.test/", "check_uri_host_listed BAD", 0},
		{"http://192.0.2.1/", "check_uri_host_listed BAD", 1},
		{"http://x.block.com/", "check_uri_host_in_blocklist", 1},
		{"http://x.block.com/", "check_uri_host_in_welcomelist", 0},
		{"http://example.com/", "check_uri_host_listed GONE", 0},
		{"http://example.com/", "check_uri_host_listed NONE", 0},
	} {
		if got := value(t, mailOf(t, "Subject: a\n\nsee "+c.uri+" now\n"), s, c.function); got != c.want {
			t.Errorf("%s: %s is %d", c.uri, c.function, got)
		}
	}
}
