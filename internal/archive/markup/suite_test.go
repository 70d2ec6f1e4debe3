package markup

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
	"github.com/postern-mail/postern/internal/peertest"
)

// tally is what was found in many documents.
type tally struct{ documents, active, contents int }

func (y *tally) add(t *testing.T, where string, in []byte) {
	t.Helper()
	y.documents++
	for _, walk := range []archive.Walk{Walk, WalkBody} {
		s := &seen{}
		if err := walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, int64(len(in))), s); err != nil {
			t.Errorf("%s: %v", where, err)
		}
		switch kinds := s.kinds(); {
		case kinds == string(archive.ActiveHTML):
			y.active++
		case kinds != "":
			t.Errorf("%s: %v", where, s.signs)
		}
		y.contents += len(s.files)
	}
}

// TestScriptMail walks the mails of the XSS collection. Those without a sign hold no script of their own: it is in
// their header fields, in what they link to, or in a data URL, which is given.
func TestScriptMail(t *testing.T) {
	var y tally
	folder := peertest.Shared(t, "suites", "mime-ambiguity", "wooyun-xss")
	paths, err := filepath.Glob(filepath.Join(folder, "*.eml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		in, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		documents(in, func(html []byte) { y.add(t, p, html) })
	}
	t.Logf("%+v", y)
	if y.documents < 70 || y.active < 40 || y.contents < 8 {
		t.Errorf("%+v", y)
	}
}

// TestHonestMail walks the HTML of honest mail: nothing in it is unreadable or a bomb, and the script that old
// newsletters have in their bodies is the only thing that is found.
func TestHonestMail(t *testing.T) {
	var y tally
	for _, name := range []string{"spamassassin-ham", "csdmc2010-new-ham"} {
		telltest.EachInTar(t, peertest.Shared(t, "suites", "spam", name+".tar.gz"), func(path string, in []byte) {
			documents(in, func(html []byte) { y.add(t, path, html) })
		})
	}
	t.Logf("%+v", y)
	if y.documents < 140 || y.active > 15 || y.contents > 0 {
		t.Errorf("%+v", y)
	}
}

// TestPhishingMail walks the HTML of phishing mail.
func TestPhishingMail(t *testing.T) {
	var y tally
	telltest.EachInTar(t, peertest.Shared(t, "suites", "spam", "phishing_pot-2022-2025H1.tar.gz"), func(path string, in []byte) {
		documents(in, func(html []byte) { y.add(t, path, html) })
	})
	t.Logf("%+v", y)
	if y.documents < 1400 || y.active < 30 {
		t.Errorf("%+v", y)
	}
}

// documents gives each HTML part of a message, as well as the standard library understands it.
func documents(message []byte, each func(html []byte)) {
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		return
	}
	part(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body, each)
}

func part(contentType, encoding string, body io.Reader, each func([]byte)) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return
	}
	if strings.HasPrefix(kind, "multipart/") {
		r := multipart.NewReader(body, params["boundary"])
		for p, err := r.NextRawPart(); err == nil; p, err = r.NextRawPart() {
			part(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p, each)
		}
		return
	}
	if kind != "text/html" {
		return
	}
	switch strings.ToLower(encoding) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	html, _ := io.ReadAll(body) // what is wrong with it is no matter here
	each(html)
}
