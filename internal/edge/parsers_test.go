package edge

import (
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

// xtext encodes (RFC 3461 4), more than it must.
func xtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "+%02X", c)
		}
	}
	return b.String()
}

// FuzzXtext: what is encoded is decoded, and what can be decoded says what it did when it is encoded anew.
func FuzzXtext(f *testing.F) {
	for _, s := range []string{"", "a+b", "+41", "+4", "+4g", "+4+1", "a=b", "a b", "<>", "a+40b", "+00", "\xff", "+FF+ff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, ok := decodeXtext(xtext(s)); !ok || got != s {
			t.Errorf("%q became %q, %v", s, got, ok)
		}
		got, ok := decodeXtext(s)
		if !ok {
			return
		}
		if again, ok := decodeXtext(xtext(got)); !ok || again != got {
			t.Errorf("%q is %q, which became %q, %v", s, got, again, ok)
		}
		if strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '=' }) || len(got) != len(s)-2*strings.Count(s, "+") {
			t.Errorf("%q was taken for %q", s, got)
		}
	})
}

var refusal5 = regexp.MustCompile(`^5[05][0-9] 5\.[0-9]\.[0-9] [ -~]{1,490}$`)

// FuzzParameters: parameters are refused with a reply, or read so that they say the same when they are written anew.
func FuzzParameters(f *testing.F) {
	for _, s := range []string{
		"", " SIZE=10 BODY=8BITMIME SMTPUTF8", " SIZE=0 SIZE=1", " size=1001", " SIZE=99999999999999999999", " BODY=BINARYMIME", " SMTPUTF8=1",
		" AUTH=<>", " AUTH=a+40b.example", " AUTH=", " RET=HDRS ENVID=QQ314159", " RET=x", " ENVID=" + strings.Repeat("x", 101), " NOTIFY=NEVER",
		" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@ours.example", " NOTIFY=NEVER,DELAY", ` ORCPT=utf-8;b\x{fc}@ours.example`, " ORCPT=rfc822;+C3+BC@x", " =", "  X==", "\tSIZE=1",
	} {
		f.Add(s, true, true)
		f.Add(s, false, false)
	}
	f.Fuzz(func(t *testing.T, s string, auth, dsn bool) {
		offered := offer{limit: 1000, auth: auth, dsn: dsn}
		o, no := mailParameters(s, offered)
		if no != "" {
			if o != nil || !refusal5.MatchString(no) {
				t.Errorf("%q: %q", s, no)
			}
		} else {
			if o.Size < 0 || o.Size > offered.limit || !auth && o.Auth != nil || !dsn && (o.Return != "" || o.EnvelopeID != "") {
				t.Errorf("%q is %+v", s, o)
			}
			again, no := mailParameters(writeMail(o), offered)
			if no != "" || !reflect.DeepEqual(again, o) {
				t.Errorf("%q is %+v, which became %+v, %q", s, o, again, no)
			}
		}
		r, no := rcptParameters(s, dsn)
		if no != "" {
			if r != nil || !refusal5.MatchString(no) {
				t.Errorf("%q: %q", s, no)
			}
			return
		}
		if again, no := rcptParameters(writeRcpt(r), dsn); no != "" || !reflect.DeepEqual(again, r) {
			t.Errorf("%q is %+v, which became %+v, %q", s, r, again, no)
		}
	})
}

func writeMail(o *smtp.MailOptions) string {
	s := " SIZE=" + strconv.FormatInt(o.Size, 10)
	if o.Body != "" {
		s += " body=" + string(o.Body)
	}
	if o.UTF8 {
		s += " smtputf8"
	}
	if o.Auth != nil {
		if *o.Auth == "" {
			s += " auth=<>"
		} else {
			s += " auth=" + xtext(*o.Auth)
		}
	}
	if o.Return != "" {
		s += " ret=" + strings.ToLower(string(o.Return))
	}
	if o.EnvelopeID != "" {
		id := xtext(o.EnvelopeID)
		if len(id) > 100 { // what was shorter before it was written with more care
			id = strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(o.EnvelopeID, "+", "+2B"), "=", "+3D"), " ", "+20")
		}
		s += " envid=" + id
	}
	return s
}

func writeRcpt(r *smtp.RcptOptions) string {
	s := ""
	if len(r.Notify) > 0 {
		var words []string
		for _, n := range r.Notify {
			words = append(words, strings.ToLower(string(n)))
		}
		s += " notify=" + strings.Join(words, ",")
	}
	if r.OriginalRecipientType != "" {
		address := xtext(r.OriginalRecipient)
		if r.OriginalRecipientType == smtp.DSNAddressTypeUTF8 {
			var b strings.Builder
			for _, c := range r.OriginalRecipient {
				if c <= ' ' || strings.ContainsRune(`+=\`, c) || c == 0x7f {
					fmt.Fprintf(&b, `\x{%02X}`, c)
				} else {
					b.WriteRune(c)
				}
			}
			address = b.String()
		} else if len(address) > 450 {
			address = strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(r.OriginalRecipient, "+", "+2B"), "=", "+3D"), " ", "+20")
		}
		s += " orcpt=" + string(r.OriginalRecipientType) + ";" + address
	}
	return s
}

// FuzzCommandPath: a path is what a line begins with, ends where it ends whatever comes behind, and means one address.
func FuzzCommandPath(f *testing.F) {
	for _, s := range []string{
		"<a@b.example>", "<>", "", "a@b.example", "<a@b.example> SIZE=1", `<"a b"@c.example> X`, `<"a>b"@c.example>`, `<"a\"b"@c.example>`, `<"a`, `<"a\`, "<a b>", "<a@b>x",
		"<@x,@y:a@b>", "\t<a@b>", "<a@b\r\n", `"<a@b>" x`, "<postmaster>", "<ü@b>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		path := commandPath(s)
		if !strings.HasPrefix(s, path) {
			t.Fatalf("%q does not begin with %q", s, path)
		}
		if open := openQuote(path); !open && commandPath(path+" SIZE=1") != path {
			t.Errorf("%q ends elsewhere where something follows: %q", path, commandPath(path+" SIZE=1"))
		}
		got, rest, ok := splitPath([]byte("RCPT TO:"+s), "RCPT TO:")
		if !ok {
			return
		}
		if got+rest != strings.TrimLeft(s, " \t") || rest != "" && rest[0] != ' ' && rest[0] != '\t' {
			t.Errorf("%q was cut into %q and %q", s, got, rest)
		}
		a, err := parsePath(got)
		if err != nil {
			return
		}
		if again, err := parsePath("<" + a.String() + ">"); err != nil || again != a {
			t.Errorf("%q is %q, which became %q, %v", got, a, again, err)
		}
	})
}

// openQuote reports whether a quoted string or pair does not end.
func openQuote(s string) bool {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		}
	}
	return quoted
}

var chunkArgument = regexp.MustCompile(`^([0-9]{1,18})( +(?i:LAST))?$`)

// FuzzChunkSize: a size is read as RFC 3030 2 writes it, and nothing else is one.
func FuzzChunkSize(f *testing.F) {
	for _, s := range []string{"0", "5 LAST", "5 last", "5  LAST", "5LAST", "", "-1", "+1", "0x5", "999999999999999999", "9999999999999999999", "5 LAST X", "5\tLAST", "5 ", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if s != strings.Trim(s, " \t") || hasControl([]byte(s)) {
			return // the dialog does not let it through
		}
		size, last, ok := chunkSize(s)
		m := chunkArgument.FindStringSubmatch(s)
		if ok != (m != nil) {
			t.Fatalf("%q: %v", s, ok)
		}
		if !ok {
			return
		}
		if n, _ := strconv.ParseInt(m[1], 10, 64); n != size || size < 0 || last != (m[2] != "") {
			t.Errorf("%q: %d, %v", s, size, last)
		}
	})
}

// FuzzXclient: the attributes that are taken name addresses, and what they do not say stays.
func FuzzXclient(f *testing.F) {
	for _, s := range []string{
		"ADDR=192.0.2.1", "ADDR=192.0.2.1 PORT=25 NAME=x HELO=y PROTO=ESMTP LOGIN=z", "ADDR=IPv6:2001:db8::1", "addr=::ffff:192.0.2.1", "ADDR=[UNAVAILABLE]", "PORT=65536", "PORT=-1",
		"DESTADDR=192.0.2.2 DESTPORT=25", "ADDR=fe80::1%eth0", "ADDR=+31", "X=1", "", "ADDR", "ADDR=192.0.2.1 ADDR=192.0.2.2",
	} {
		f.Add(s)
	}
	client, local := netip.MustParseAddrPort("127.0.0.1:1000"), netip.MustParseAddrPort("127.0.0.1:25")
	f.Fuzz(func(t *testing.T, s string) {
		c, l, named, ok := spokenFor(s, client, local)
		if !ok {
			return
		}
		up := strings.ToUpper(s)
		switch {
		case !c.IsValid(), !l.IsValid(), c.Addr().Is4In6(), c.Addr().Zone() != "":
			t.Errorf("%q: %v, %v", s, c, l)
		case !named && c.Addr() != client.Addr(), !strings.Contains(up, "ADDR=") && named, !strings.Contains(up, "DEST") && l != local:
			t.Errorf("%q: %v, %v, %v", s, c, l, named)
		}
	})
}
