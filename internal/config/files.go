package config

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/postern-mail/postern/internal/certs"
)

// CheckFiles looks at the files that the configuration names: they must be there and readable, a
// certificate must fit its key, a ca_file must hold certificates. It changes nothing. The error is an
// Errors, each at the place of the file's name.
func (c *Config) CheckFiles() error {
	var errs Errors
	fail := func(path, format string, args ...any) {
		errs = append(errs, c.Errorf(path, format, args...))
	}
	for _, l := range c.Listeners {
		if l.TLS == nil {
			continue
		}
		for path, p := range l.TLS.KeyPairs("listeners." + l.Name + ".tls") {
			checkKeyPair(path, p, fail)
		}
		if l.TLS.ClientCA != "" {
			checkAuthorities("listeners."+l.Name+".tls.client_ca", l.TLS.ClientCA, fail)
		}
	}
	for _, l := range c.Listeners {
		if l.Relay == nil || l.Relay.Users == "" {
			continue
		}
		if err := readable(l.Relay.Users); err != nil {
			fail("listeners."+l.Name+".relay.users", "%s", err)
		}
	}
	c.checkRouteFiles(fail)
	for _, u := range c.Upstreams {
		if u.CAFile != "" {
			checkAuthorities("upstreams."+u.Name+".ca_file", u.CAFile, fail)
		}
		if u.Certificate != "" {
			checkKeyPair("upstreams."+u.Name, u.KeyPair, fail)
		}
		if u.Auth != nil {
			if _, err := u.Auth.Password(); err != nil {
				fail("upstreams."+u.Name+".auth.password_file", "%s", err)
			}
		}
	}
	for path, file := range c.keyFiles() {
		if err := readable(file); err != nil {
			fail(path, "%s", err)
		}
	}
	if len(errs) > 0 {
		return c.src.finish(errs)
	}
	return nil
}

func (c *Config) checkRouteFiles(fail func(path, format string, args ...any)) {
	for place, path := range c.PatternFiles() {
		if err := readable(path); err != nil {
			fail(place, "%s", err)
		}
	}
	for i, r := range c.Routes {
		at := fmt.Sprintf("routes[%d].recipients", i)
		if r.Recipients.File != "" {
			if err := readable(r.Recipients.File); err != nil {
				fail(at+".file", "%s", err)
			}
		}
		if r.Recipients.CAFile != "" {
			checkAuthorities(at+".ca_file", r.Recipients.CAFile, fail)
		}
		if r.Recipients.Bind != nil {
			if _, err := r.Recipients.Bind.Password(); err != nil {
				fail(at+".bind.password_file", "%s", err)
			}
		}
	}
}

// KeyPairs gives the certificates of a listener, the first one first, each with its place in the configuration; path
// is that of the TLS.
func (t *TLS) KeyPairs(path string) iter.Seq2[string, KeyPair] {
	return func(yield func(string, KeyPair) bool) {
		if !yield(path, t.KeyPair) {
			return
		}
		for i, p := range t.SNI {
			if !yield(fmt.Sprintf("%s.sni[%d]", path, i), p) {
				return
			}
		}
	}
}

func checkKeyPair(path string, p KeyPair, fail func(path, format string, args ...any)) {
	_, err := certs.Read(certs.Pair{Certificate: p.Certificate, Key: p.Key})
	var file *certs.Unreadable
	switch {
	case errors.As(err, &file) && file.IsKey:
		fail(path+".key", "%s", cause(file.Path, file.Err))
	case errors.As(err, &file):
		fail(path+".certificate", "%s", cause(file.Path, file.Err))
		if err := readable(p.Key); err != nil { // both are told at once
			fail(path+".key", "%s", err)
		}
	case err != nil:
		fail(path+".certificate", "%s", strings.TrimPrefix(err.Error(), "certs: "))
	}
}

func checkAuthorities(path, file string, fail func(path, format string, args ...any)) {
	if pem, err := readFile(file); err != nil {
		fail(path, "%s", err)
	} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		fail(path, "%s holds no certificate in PEM form", file)
	}
}

// maxCredential is how many octets a user's name and a password for a server may have.
const maxCredential = 1024

// Password reads the password: the one line of its file, with or without an end, and whatever blanks it has. Errors quote
// nothing of it.
func (a *Auth) Password() (string, error) {
	data, err := readFile(a.PasswordFile)
	if err != nil {
		return "", err
	}
	line, ended := bytes.CutSuffix(data, []byte("\n"))
	if ended {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	switch {
	case len(line) == 0:
		return "", fmt.Errorf("%s holds no password", a.PasswordFile)
	case bytes.ContainsAny(line, "\r\n"):
		return "", fmt.Errorf("%s must be one line, the password", a.PasswordFile)
	case len(line) > maxCredential:
		return "", fmt.Errorf("%s: the password has more than %d octets", a.PasswordFile, maxCredential)
	case !utf8.Valid(line) || bytes.IndexByte(line, 0) >= 0:
		return "", fmt.Errorf("%s: the password must be UTF-8 without NUL", a.PasswordFile) // RFC 4616 2
	}
	return string(line), nil
}

// keyFiles gives the files of the keys that sign, by the place of each in the configuration.
func (c *Config) keyFiles() map[string]string {
	all := map[string]string{}
	if c.Signing == nil {
		return all
	}
	for i, k := range c.Signing.Keys {
		all[fmt.Sprintf("signing.keys[%d].key", i)] = k.Key
	}
	if c.Signing.Seal != nil {
		all["signing.seal.key"] = c.Signing.Seal.Key
	}
	return all
}

// readable opens a file and reads its first octet: a folder can be opened.
func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return cause(path, err)
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
		return cause(path, err)
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(path, err)
	}
	defer f.Close()
	data, err := readAll(f)
	if err != nil {
		return nil, cause(path, err)
	}
	return data, nil
}

// readAll reads what Parse will take, and one octet more where there is more.
func readAll(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	_, err := b.ReadFrom(io.LimitReader(r, maxFile+1))
	return b.Bytes(), err
}

// cause says in a few words why a file can't be read.
func cause(path string, err error) error {
	var at *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no file %s", path)
	case errors.As(err, &at):
		return fmt.Errorf("%s can't be read: %w", path, at.Err)
	}
	return fmt.Errorf("%s can't be read: %w", path, err)
}
