package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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
		path := "listeners." + l.Name + ".tls."
		cert, err1 := readFile(l.TLS.Certificate)
		if err1 != nil {
			fail(path+"certificate", "%s", err1)
		}
		key, err2 := readFile(l.TLS.Key)
		if err2 != nil {
			fail(path+"key", "%s", err2)
		}
		if err1 != nil || err2 != nil {
			continue
		}
		if _, err := tls.X509KeyPair(cert, key); err != nil {
			fail(path+"certificate", "%s with %s: %s", l.TLS.Certificate, l.TLS.Key, err)
		}
	}
	for i, r := range c.Routes {
		if r.Recipients.File == "" {
			continue
		}
		if err := readable(r.Recipients.File); err != nil {
			fail(fmt.Sprintf("routes[%d].recipients.file", i), "%s", err)
		}
	}
	for _, u := range c.Upstreams {
		if u.CAFile == "" {
			continue
		}
		path := "upstreams." + u.Name + ".ca_file"
		if pem, err := readFile(u.CAFile); err != nil {
			fail(path, "%s", err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			fail(path, "%s holds no certificate in PEM form", u.CAFile)
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
