package dkim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
)

// crafted makes a signature over a message with tags of the test's choice: they are put in front of the others. It signs
// with the Ed25519 key, selector "ed", unless the tags say otherwise.
func crafted(t testing.TB, message, tags string) string {
	t.Helper()
	given, err := ParseTags(tags)
	if tags != "" && err != nil {
		t.Fatal(err)
	}
	c, _ := given.Get("c")
	header, body, err := ParseCanons(c)
	if err != nil {
		header, body = Simple, Simple
	}
	limit := Whole
	if l, ok := given.Get("l"); ok {
		limit, _ = number(l, 76)
	}
	fields, rest := split(t, message)
	sum := hashed(t, body, limit, bytes.NewReader(rest))
	h, ok := given.Get("h")
	if !ok {
		h = "From:Subject"
	}
	list := slices.Clone(given)
	for _, d := range []Tag{
		{Name: "v", Value: "1"},
		{Name: "a", Value: "ed25519-sha256"},
		{Name: "d", Value: "example.org"},
		{Name: "s", Value: "ed"},
		{Name: "h", Value: h},
		{Name: "bh", Value: base64.StdEncoding.EncodeToString(sum.Sum[:])},
	} {
		if _, has := given.Get(d.Name); !has {
			list = append(list, d)
		}
	}
	field, err := Seal("DKIM-Signature", list, header, edKey, func(w io.Writer) {
		fields.WriteFields(w, fields.Pick(splitList(fold(h)), -1).Picked, header)
	})
	if err != nil {
		t.Fatal(err)
	}
	return field + message
}

func TestVerify(t *testing.T) {
	now := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	keys := published(t)
	ed := keys["ed._domainkey.example.org"]
	keys["strict._domainkey.example.org"] = "v=DKIM1; t=s; " + strings.TrimPrefix(ed, "v=DKIM1; ")
	keys["testing._domainkey.example.org"] = "v=DKIM1; t=y; " + strings.TrimPrefix(ed, "v=DKIM1; ")
	keys["revoked._domainkey.example.org"] = "v=DKIM1; p="
	keys["broken._domainkey.example.org"] = "!"
	keys["ed._domainkey.xn--bcher-kva.example"] = ed
	good := signedBy(t, plain, signer("ed"))
	for name, c := range map[string]struct {
		message string
		want    Result
		reason  string
	}{
		"good":                         {good, Pass, ""},
		"no blank line":                {strings.TrimSuffix(crafted(t, strings.TrimSuffix(plain, "\r\nAt five?\r\n"), "c=simple/simple;"), "\r\n\r\n"), Pass, ""},
		"body changed":                 {strings.Replace(good, "five", "six", 1), Fail, "body does not match"},
		"header changed":               {strings.Replace(good, "Tea", "tea", 1), Fail, "signature does not match"},
		"body added to":                {good + "more\r\n", Fail, "body does not match"},
		"blank lines":                  {good + "\r\n\r\n", Pass, ""},
		"no key":                       {crafted(t, plain, "s=gone;"), PermError, "no key"},
		"key out of reach":             {crafted(t, plain, "s=broken;"), TempError, "could not be asked"},
		"revoked":                      {crafted(t, plain, "s=revoked;"), PermError, "revoked"},
		"key type":                     {crafted(t, plain, "s=rsa;"), PermError, "another type"},
		"sha1":                         {crafted(t, plain, "a=rsa-sha1;"), PermError, "sha1"},
		"algorithm":                    {crafted(t, plain, "a=rot-13;"), PermError, "unknown algorithm"},
		"algorithm in capitals":        {crafted(t, plain, "a=ED25519-SHA256;"), Pass, ""},
		"version":                      {crafted(t, plain, "v=2;"), PermError, "version"},
		"version with a point":         {crafted(t, plain, "v=1.0;"), PermError, "version"},
		"no version":                   {strings.Replace(good, "v=1; ", "", 1), PermError, "version"},
		"no bh=":                       {strings.Replace(good, "bh=", "bx=", 1), PermError, "bh="},
		"a tag twice":                  {strings.Replace(good, "v=1; ", "v=1; v=1; ", 1), PermError, "twice"},
		"From not signed":              {crafted(t, plain, "h=Subject:To;"), PermError, "From"},
		"From of another name":         {crafted(t, plain, "h=From-x:To;"), PermError, "From"},
		"FROM":                         {crafted(t, plain, "h=to : FROM;"), Pass, ""},
		"an empty name":                {crafted(t, plain, "h=From::To;"), PermError, "no name"},
		"z= is not looked at":          {crafted(t, plain, "z=From:nobody|To:x;"), Pass, ""},
		"unknown tags":                 {crafted(t, plain, "zz=1;"), Pass, ""},
		"domain in capitals":           {crafted(t, plain, "d=Example.ORG; i=ann@eXample.org;"), Pass, ""},
		"domain in U-labels":           {crafted(t, plain, "d=B\u00fccher.example; i=@mail.b\u00fccher.example;"), Pass, ""},
		"domain of one label":          {crafted(t, plain, "d=org;"), PermError, "d="},
		"domain with a dot at its end": {crafted(t, plain, "d=example.org.;"), PermError, "d="},
		"domain that is none":          {crafted(t, plain, "d=a..b;"), PermError, "d="},
		"selector that is none":        {crafted(t, plain, "s=a b;"), PermError, "s="},
		"identity":                     {crafted(t, plain, "i=ann@example.org;"), Pass, ""},
		"identity of a subdomain":      {crafted(t, plain, "i=@mail.Example.org;"), Pass, ""},
		"identity of another domain":   {crafted(t, plain, "i=@example.com;"), PermError, "within d="},
		"identity that only ends so":   {crafted(t, plain, "i=@badexample.org;"), PermError, "within d="},
		"identity of the parent":       {crafted(t, plain, "d=a.example.org; i=@example.org;"), PermError, "within d="},
		"identity without a domain":    {crafted(t, plain, "i=ann;"), PermError, "i="},
		"identity, quoted":             {crafted(t, plain, "i=a=3Bnn=40mail=2Eexample.org;"), Pass, ""},
		"identity, quoted badly":       {crafted(t, plain, "i=ann@=4;"), PermError, "i="},
		"identity of a quoted other":   {crafted(t, plain, "i=@example.org=40example.com;"), PermError, "within d="},
		"strict key":                   {crafted(t, plain, "s=strict; i=@example.org;"), Pass, ""},
		"strict key, no identity":      {crafted(t, plain, "s=strict;"), Pass, ""},
		"strict key, subdomain":        {crafted(t, plain, "s=strict; i=@mail.example.org;"), PermError, "subdomain"},
		"key in test":                  {crafted(t, plain, "s=testing;"), Pass, ""},
		"q= that is known":             {crafted(t, plain, "q=other/x : dns/txt;"), Pass, ""},
		"q= that is unknown":           {crafted(t, plain, "q=http;"), PermError, "q="},
		"expired":                      {crafted(t, plain, "t=1793613000; x=1793613599;"), PermError, "expired"},
		"about to expire":              {crafted(t, plain, "t=1793613000; x=1793613600;"), Pass, ""},
		"x= before t=":                 {crafted(t, plain, "t=1893613000; x=1893612999;"), PermError, "not after"},
		"signed tomorrow":              {crafted(t, plain, "t=1893613000;"), Pass, ""},
		"t= that is none":              {crafted(t, plain, "t=soon;"), PermError, "t="},
		"x= of 13 digits":              {crafted(t, plain, "x=1000000000000;"), PermError, "x="},
		"l= of the whole body":         {crafted(t, plain, "l=10;"), Pass, ""},
		"l= of a part":                 {crafted(t, plain, "l=5;"), Policy, "leaves 5 of the body's 10"},
		"l= of a part, body broken":    {strings.Replace(crafted(t, plain, "l=5;"), "At f", "In f", 1), Fail, "body does not match"},
		"l=0":                          {crafted(t, plain, "l=0;"), Policy, "leaves 10"},
		"l= of more":                   {crafted(t, plain, "l=11;"), PermError, "more than the 10"},
		"l= of very much more":         {crafted(t, plain, "l="+strings.Repeat("9", 76)+";"), PermError, "more than the 10"},
		"l= of too many digits":        {crafted(t, plain, "l="+strings.Repeat("0", 77)+";"), PermError, "l="},
		"l= below nothing":             {crafted(t, plain, "l=-1;"), PermError, "l="},
		"c= unknown":                   {crafted(t, plain, "c=nofws;"), PermError, "canonicalisation"},
		"c= empty":                     {crafted(t, plain, "c=;"), PermError, "c="},
		"c= of the header":             {crafted(t, plain, "c=relaxed;"), Pass, ""},
		"b= that is none":              {strings.Replace(good, " b=", " b=!", 1), PermError, "b="},
		"blank before the colon":       {strings.Replace(crafted(t, plain, "c=relaxed/simple;"), "DKIM-Signature:", "dkim-signature \t:", 1), Pass, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fields, body := split(t, c.message)
			got, err := Verify(t.Context(), fields, bytes.NewReader(body), Options{Resolver: keys, Now: func() time.Time { return now }})
			if err != nil || len(got) != 1 {
				t.Fatalf("got %d results, %v", len(got), err)
			}
			if got[0].Result != c.want || !strings.Contains(got[0].Reason, c.reason) || (got[0].Reason == "") != (c.want == Pass) {
				t.Errorf("got %s (%s), want %s (%s)\n%s", got[0].Result, got[0].Reason, c.want, c.reason, c.message)
			}
			if (name == "key in test") != (got[0].Key != nil && got[0].Key.Testing) {
				t.Errorf("key %+v", got[0].Key)
			}
		})
	}
}

func TestPartialCanBeAccepted(t *testing.T) {
	fields, body := split(t, crafted(t, plain, "l=5;"))
	got, err := Verify(t.Context(), fields, bytes.NewReader(body), Options{Resolver: published(t), AcceptPartial: true})
	if err != nil || got[0].Result != Pass {
		t.Errorf("got %+v, %v", got[0], err)
	}
}

func TestAddedFields(t *testing.T) {
	message := "From: Eve <eve@example.com>\r\nSubject: Pay\r\nX-A: b\r\n" + crafted(t, plain, "h=From:Subject:Cc:Cc:To:X-B;")
	got := verified(t, message, published(t))[0]
	if got.Result != Pass {
		t.Fatalf("got %s (%s)", got.Result, got.Reason)
	}
	if a := strings.Join(got.Added, " "); a != "from subject" {
		t.Errorf("added: %s", a)
	}
	if u := strings.Join(got.Unsigned, " "); u != "date message-id" {
		t.Errorf("not signed: %s", u)
	}
	if o := strings.Join(got.OverSigned, " "); o != "cc x-b" {
		t.Errorf("over-signed: %s", o)
	}
}

// TestAddedLines: what is no field can't be signed, and is shown by lenient readers as the field that it resembles.
func TestAddedLines(t *testing.T) {
	for line, want := range map[string]string{
		"\vSubject: Pay": "subject", "Subject\x01: Pay": "subject", "Sub\r\n ject: Pay": "subject", "\u3000Content-Type: text/html": "content-type",
		"\x01Cc: x": "cc", "Subject": "", "garbage": "", "\x01X: y": "", "Subjects: x": "",
	} {
		message := line + "\r\n" + crafted(t, plain, "h=From:From:Subject:Subject:Cc:To;")
		got := verified(t, message, published(t))[0]
		if a := strings.Join(got.Added, " "); got.Result != Pass || a != want {
			t.Errorf("%q: %s, added: %q, want %q", line, got.Result, a, want)
		}
	}
}

// TestPick: names pick fields from the bottom up, whatever their case, and never the signature's own field.
func TestPick(t *testing.T) {
	fields, _ := split(t, "A: 1\r\nB: 2\r\na: 3\r\nDKIM-Signature: 4\r\nC: 5\r\nDKIM-Signature: 6\r\n\r\n")
	for names, want := range map[string]string{
		"a": "[2] []", "a a": "[2 0] []", "a a a a": "[2 0] [a]", "x a x": "[2] [x]", "b a c a": "[1 2 4 0] []",
		"dkim-signature": "[3] []", "dkim-signature dkim-signature": "[3] [dkim-signature]",
	} {
		got := fields.Pick(strings.Fields(names), 5)
		if g := fmt.Sprint(got.Picked, got.Missing); g != want {
			t.Errorf("%s: got %s, want %s", names, g, want)
		}
	}
	if got := fields.Pick([]string{"dkim-signature", "dkim-signature", "dkim-signature"}, 3); fmt.Sprint(got.Picked, got.Missing) != "[5] [dkim-signature]" {
		t.Errorf("without the upper one: %v", got)
	}
}

func TestMostAreNotVerified(t *testing.T) {
	message := plain
	for range 13 {
		message = crafted(t, message, "")
	}
	message = "DKIM-Signature: v=1; b=bad\r\n" + message
	got := verified(t, message, published(t))
	var words []string
	for _, c := range got {
		words = append(words, string(c.Result))
	}
	// What can't be read costs nothing, and takes no place away.
	if w := strings.Join(words, " "); w != "permerror"+strings.Repeat(" pass", MaxVerified)+strings.Repeat(" policy", 3) {
		t.Errorf("got %s", w)
	}
}

// TestPrefix: signatures that begin alike are told by more than eight characters of b=, all of one that is shorter.
func TestPrefix(t *testing.T) {
	long := strings.Repeat("x", 60)
	for given, want := range map[string]string{
		"short abcdefghijkl": "short abcdefgh",
		"abcdefghijk1 abcdefghijk2x abcdefghijk3 bbcdefghij": "abcdefghijk1 abcdefghijk2 abcdefghijk3 bbcdefgh",
		"abcdefgh abcdefghi":        "abcdefgh abcdefghi",
		long + "1 " + long + "2":    long[:40] + " " + long[:40],
		"abcdefghij abcdefghij abc": "abcdefghij abcdefghij abc",
	} {
		header := ""
		for b := range strings.FieldsSeq(given) {
			header += "DKIM-Signature: v=1; b=" + b[:2] + "\r\n\t" + b[2:] + "\r\n"
		}
		fields, _ := split(t, header+"\r\n")
		var got []string
		for _, c := range Checks(fields, 0) {
			got = append(got, c.Prefix)
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%s: got %s, want %s", given, g, want)
		}
	}
}

// TestMaterialChecks: who judges the signatures of a Material changes nobody else's.
func TestMaterialChecks(t *testing.T) {
	message := signedBy(t, plain, signer("rsa"))
	for range MaxReported + 5 {
		message = "DKIM-Signature: v=1; b=AAAA\r\n" + message
	}
	message = signedBy(t, message, signer("rsa"))
	m, err := MaterialOf(content(t, message))
	if err != nil {
		t.Fatal(err)
	}
	first, second := m.Checks(), m.Checks()
	if len(first) != MaxReported || len(second) != MaxReported {
		t.Fatalf("%d and %d checks", len(first), len(second))
	}
	if err := Judge(t.Context(), m.Fields, m.Bodies, first, Options{Resolver: published(t)}); err != nil {
		t.Fatal(err)
	}
	if first[0].Result != Pass || first[1].Result != PermError {
		t.Errorf("got %+v", first[0])
	}
	first[0].lengthen(20)
	again := m.Checks()
	for _, c := range []*Check{second[0], again[0]} {
		if c.Result != "" || c.Key != nil || len(c.Prefix) > minPrefix || c.Index != first[0].Index || c.Domain != first[0].Domain {
			t.Errorf("changed by another: %+v", c)
		}
	}
}

func TestMaterialIsMadeOnce(t *testing.T) {
	c := content(t, signedBy(t, crafted(t, plain, "l=5;"), signer("rsa")))
	m, err := MaterialOf(c)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := MaterialOf(c); again != m {
		t.Error("made twice")
	}
	checks := Checks(m.Fields, 0)
	if err := Judge(t.Context(), m.Fields, m.Bodies, checks, Options{Resolver: published(t)}); err != nil {
		t.Fatal(err)
	}
	if len(checks) != 2 || checks[0].Result != Pass || checks[1].Result != Policy {
		t.Errorf("got %+v", checks)
	}
}

func TestReadErrors(t *testing.T) {
	g := mail.NewIngest(mail.IngestOptions{Memory: -1, Dir: t.TempDir()})
	if _, err := g.Write([]byte(crafted(t, plain, ""))); err != nil {
		t.Fatal(err)
	}
	blob, faults, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	c := mail.NewContent(blob, faults, mail.Limits{})
	c.Header()
	c.Release()
	if m, err := MaterialOf(c); !errors.Is(err, mail.ErrReleased) {
		t.Errorf("got %+v, %v; want ErrReleased", m, err)
	}
	fields, _ := split(t, crafted(t, plain, ""))
	if _, err := Verify(t.Context(), fields, Body(bytes.NewReader([]byte("short")), 0, 10), Options{Resolver: published(t)}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v, want an unexpected end", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, fields, bytes.NewReader(nil), Options{Resolver: published(t)}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
}

// TestARCKinds: the fields of ARC share the tags, with the exceptions of RFC 8617 4.1.
func TestARCKinds(t *testing.T) {
	hash := base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	for name, c := range map[string]struct {
		kind  Kind
		tags  string
		wrong string
	}{
		"message":                   {ARCMessage, "i=2; a=rsa-sha256; d=example.org; s=x; h=from; bh=" + hash + "; b=aaaa", ""},
		"message without instance":  {ARCMessage, "a=rsa-sha256; d=example.org; s=x; h=from; bh=" + hash + "; b=aaaa", "i="},
		"message, instance 0":       {ARCMessage, "i=0; a=rsa-sha256; d=example.org; s=x; h=from; bh=" + hash + "; b=aaaa", "i="},
		"message, instance 51":      {ARCMessage, "i=51; a=rsa-sha256; d=example.org; s=x; h=from; bh=" + hash + "; b=aaaa", "i="},
		"seal":                      {ARCSeal, "i=1; a=rsa-sha256; d=example.org; s=x; cv=none; b=aaaa; t=12", ""},
		"seal with h=":              {ARCSeal, "i=1; a=rsa-sha256; d=example.org; s=x; cv=none; b=aaaa; h=from", "h="},
		"seal without cv=":          {ARCSeal, "i=1; a=rsa-sha256; d=example.org; s=x; b=aaaa", "cv="},
		"signature without version": {Message, "a=rsa-sha256; d=example.org; s=x; h=from; bh=" + hash + "; b=aaaa", "version"},
	} {
		s, err := ParseSignature(mail.Field{Raw: "X: " + c.tags + "\r\n"}, c.kind)
		if c.wrong == "" && (err != nil || s.Instance == 0) || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: got %+v, %v", name, s, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	keys := published(f)
	f.Add([]byte(signedBy(f, plain, signer("ed"))))
	f.Add([]byte(crafted(f, plain, "c=relaxed/simple; l=5; t=1; x=2; i=a@b.example.org;")))
	f.Add([]byte("DKIM-Signature: v=1\r\n\t2; b= a\r\n b\r\nFrom: a@b\r\n\r\nbody"))
	f.Add([]byte("DKIM-Signature: v=1; b=\u20ac\u20ac\u20ac\r\n\r\n"))
	f.Add([]byte(crafted(f, plain, "t=1; x=999999999999;")))
	f.Add(bytes.Repeat([]byte("DKIM-Signature: v=1; h=a:b\r\n"), 7))
	f.Fuzz(func(t *testing.T, raw []byte) {
		fields, body := split(t, string(raw))
		got, err := Verify(t.Context(), fields, bytes.NewReader(body), Options{Resolver: keys})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range got {
			if c.Result == "" || (c.Reason == "") != (c.Result == Pass) || len(c.Prefix) > 8 {
				t.Fatalf("got %+v", c)
			}
			// What is told of a signature goes to logs and header fields.
			for _, s := range []string{c.Reason, c.Domain, c.Selector, c.Identity, c.Algorithm, c.Prefix} {
				if strings.ContainsFunc(s, unicode.IsControl) || len(s) > 2*textLimit || !utf8.ValidString(s) {
					t.Fatalf("%q in %+v", s, c)
				}
			}
			if _, err := json.Marshal([]time.Time{c.Signed, c.Expires}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
