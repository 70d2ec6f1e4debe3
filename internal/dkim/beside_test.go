package dkim

import (
	"bytes"
	"strings"
	"testing"
)

// onWire gives a message line ends of CRLF and nothing else that no server passes on.
func onWire(raw []byte) string {
	s := strings.ReplaceAll(string(raw), "\r", "")
	return strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), "\n", "\r\n")
}

// FuzzBesideLibrary signs any message here and has go-msgauth verify it, changes an octet below the signature, and holds
// both verifiers against each other.
func FuzzBesideLibrary(f *testing.F) {
	keys := published(f)
	f.Add([]byte(plain), uint8(3), uint16(200), byte(' '))
	f.Add([]byte("FROM :a\r\n\tb \r\nX:\r\n\r\n \t\r\n\r\nx \r\n\r\n"), uint8(0), uint16(3), byte('\t'))
	f.Add([]byte("from:a@b\r\nsubject:x\r\nSubject:y\r\n\r\n"), uint8(2), uint16(20), byte('X'))
	f.Fuzz(func(t *testing.T, raw []byte, canon uint8, at uint16, with byte) {
		message := onWire(raw)
		if len(message) > 4096 {
			return
		}
		if !strings.Contains(message, "\r\n\r\n") {
			message = strings.TrimSuffix(message, "\r\n") + "\r\n\r\n"
		}
		fields, body := split(t, message)
		if len(fields.Named("from")) == 0 {
			return
		}
		for _, field := range fields.All() {
			// What is no field, both pass over in their own ways; so with a fold at the very top.
			if field.Name == "" {
				return
			}
		}
		s := signer("ed")
		s.Canons = []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"}[canon%4]
		all, err := Sign(fields, bytes.NewReader(body), s)
		if err != nil {
			t.Fatal(err)
		}
		ours := all[0] + message
		if got := verified(t, ours, keys); len(fields.Named("dkim-signature")) == 0 && (len(got) != 1 || got[0].Result != Pass) {
			t.Fatalf("%s: of our own: %+v\n%q", s.Canons, got, ours)
		}
		theirs := byLibrary(t, ours, keys)
		if theirs[0] != "pass" {
			t.Fatalf("%s: go-msgauth says %v of ours:\n%q", s.Canons, theirs, ours)
		}
		changed := []byte(ours)
		i := len(all[0]) + int(at)%len(message)
		if strings.IndexByte("\r\n:", changed[i]) >= 0 || strings.IndexByte("\x00\r\n:", with) >= 0 {
			return
		}
		changed[i] = with
		if got, want := verified(t, string(changed), keys), byLibrary(t, string(changed), keys); string(got[0].Result) != want[0] {
			t.Fatalf("%s: octet %d: %s (%s), go-msgauth says %v\n%q", s.Canons, i, got[0].Result, got[0].Reason, want, changed)
		}
	})
}
