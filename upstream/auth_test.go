package upstream

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/mail"
)

// TestAuthConfig: no pool is made that would send a password in plain, or one that can't be sent.
func TestAuthConfig(t *testing.T) {
	good := Auth{User: "u", Password: "p"}
	for name, c := range map[string]struct {
		tls  TLSMode
		auth Auth
		err  string
	}{
		"verify":          {TLSVerify, good, ""},
		"required":        {TLSRequired, good, ""},
		"none":            {TLSNone, good, "required or verify"},
		"opportunistic":   {TLSOpportunistic, good, "required or verify"},
		"no user":         {TLSVerify, Auth{Password: "p"}, "needs a user and a password"},
		"no password":     {TLSVerify, Auth{User: "u"}, "needs a user and a password"},
		"NUL in user":     {TLSVerify, Auth{User: "u\x00v", Password: "p"}, "NUL"},
		"NUL in password": {TLSVerify, Auth{User: "u", Password: "p\x00q"}, "NUL"},
		"long user":       {TLSVerify, Auth{User: strings.Repeat("u", 1025), Password: "p"}, "1024 octets"},
		"long password":   {TLSVerify, Auth{User: "u", Password: strings.Repeat("p", 1025)}, "1024 octets"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := NewPool(Config{Name: "t", Servers: []string{"s.test:587"}, TLS: c.tls, Auth: &c.auth})
			switch {
			case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("%v, want %q", err, c.err)
			case err == nil:
				p.Close()
			}
		})
	}
	if s := fmt.Sprintf("%v %+v", &Auth{User: "u", Password: "sesame"}, Config{Auth: &Auth{Password: "sesame"}}); strings.Contains(s, "sesame") {
		t.Error(s)
	}
}

// TestEcho: replies that repeat what authenticates us lose their text, and no others.
func TestEcho(t *testing.T) {
	a := &Auth{User: "user", Password: "open sesame"}
	response, password := encode("\x00user\x00open sesame"), encode("open sesame")
	for text, kept := range map[string]bool{
		"authentication failed":  true,
		"no such user: user":     true,
		"":                       true,
		"AUTH PLAIN " + response: false,
		"AUTH PLAIN " + strings.ToUpper(response):    false,
		"cut: " + response[:12] + "…":                false,
		"in lines\n" + response[8:] + "\nof several": false,
		"what is " + password + "?":                  false,
		"what is open sesame?":                       false,
		"what is n sesame?":                          false,
		strings.Repeat("x", 999) + response:          true, // cut before
	} {
		r := a.withoutEcho(mail.Reply{Code: 500, Text: text})
		if got := r.Text == text || len(text) > maxAuthText && strings.HasPrefix(text, r.Text); got != kept || r.Code != 500 {
			t.Errorf("%q: %+v", text, r)
		}
	}
	short := &Auth{User: "u", Password: "pw"}
	if r := short.withoutEcho(mail.Reply{Code: 535, Text: "bad password: pw"}); strings.Contains(r.Text, "pw") {
		t.Error(r)
	}
}
