package app

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/mail"
)

// DKIMKeyOptions are what is said of a key.
type DKIMKeyOptions struct {
	Domain, Selector string // both empty: with Check, every key of the configuration
	Type             string // of a new key: rsa or ed25519
	Bits             int    // of a new RSA key
	Out              string // file of a new key; "": DOMAIN.SELECTOR.pem
	In               string // file of a key that is there; "": a new one is made
	Check            bool   // compare it with what is published
}

// The bounds of new RSA keys. RFC 8301 3.2: signers should use at least 2048 bits, and verifiers need not take
// more than 4096.
const minBits, maxBits = 2048, 4096

// DKIMKey makes a key for signatures, or takes one that is there, and prints what belongs into the DNS and into
// the configuration; or it compares keys with what is published.
func (a *App) DKIMKey(ctx context.Context, o DKIMKeyOptions) error {
	if o.Domain == "" && o.Check && o.In == "" {
		return a.checkKeys(ctx)
	}
	k, err := o.named()
	if err != nil {
		return err
	}
	switch {
	case o.Check && o.In == "":
		return exit(ExitUsage, "dkim-key: --check needs --in FILE, or no DOMAIN: then it is about the keys of the configuration")
	case o.In != "" && o.Out != "":
		return exit(ExitUsage, "dkim-key: --in is for a key that is there, --out for a new one")
	case o.In != "":
		key, err := readKey(o.In)
		if err != nil {
			return exit(ExitData, "dkim-key: %w", err)
		}
		k.private, k.file = key.Signer, o.In
	default:
		if o.Out == "" {
			o.Out = k.domain + "." + k.selector + ".pem"
		}
		if k.private, err = o.makeKey(); err != nil {
			return err
		}
		if err := writeKey(o.Out, k.private); err != nil {
			return exit(ExitCannotWrite, "dkim-key: %w", err)
		}
		k.file = o.Out
	}
	if o.Check {
		cfg, _, err := a.scanConfig()
		if err != nil {
			return err
		}
		return a.comparePublished(ctx, cfg, []namedKey{k})
	}
	return a.printKey(k, o.In == "")
}

// namedKey is a key and the place of its record.
type namedKey struct {
	domain, selector, file string
	private                crypto.Signer
}

func (k namedKey) name() string { return k.selector + "._domainkey." + k.domain }

// named checks domain and selector, and puts them into the form that the DNS has them in.
func (o DKIMKeyOptions) named() (k namedKey, err error) {
	if o.Domain == "" || o.Selector == "" {
		return k, exit(ExitUsage, "dkim-key: needs DOMAIN and SELECTOR, as in dkim-key example.org s2026")
	}
	if k.domain, err = mail.Domain(o.Domain); err != nil {
		return k, exit(ExitUsage, "dkim-key: %q is no domain", o.Domain)
	}
	name, err := mail.Domain(o.Selector + "._domainkey." + k.domain)
	if err != nil {
		return k, exit(ExitUsage, "dkim-key: %q is no selector: letters, digits, hyphens", o.Selector)
	}
	k.selector = strings.TrimSuffix(name, "._domainkey."+k.domain)
	return k, nil
}

func (o DKIMKeyOptions) makeKey() (crypto.Signer, error) {
	if o.Type == "ed25519" {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	if o.Bits < minBits || o.Bits > maxBits {
		return nil, exit(ExitUsage, "dkim-key: --bits must be from %d to %d", minBits, maxBits)
	}
	return rsa.GenerateKey(rand.Reader, o.Bits)
}

// writeKey writes a new file that only its owner may read. What is there already is never written over.
func writeKey(path string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and is not written over: name another file with --out, or print its record with --in", path)
	}
	if err != nil {
		return err
	}
	err = errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Sync())
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path) // half a key is none
	}
	return err
}

// maxKeyFile bounds a key file in octets: an RSA key of 4096 bits has some 3300.
const maxKeyFile = 64 << 10

// readKey reads a private key.
func readKey(path string) (*dkim.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%s: larger than any key", path)
	}
	key, err := dkim.LoadPrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// printKey prints what belongs into the DNS and into the configuration.
func (a *App) printKey(k namedKey, isNew bool) error {
	record, err := dkim.Record(k.private.Public())
	if err != nil {
		return exit(ExitData, "dkim-key: %s: %w", k.file, err)
	}
	w := &strings.Builder{}
	if isNew {
		fmt.Fprintf(w, "The key is in %s. Nobody but its owner may read it: give the gateway's user the right to.\n\n", k.file)
	}
	fmt.Fprintf(w, "For the zone of %s:\n\n%s", k.domain, zoneLine(k.name(), record))
	fmt.Fprintf(w, "\nThe value in one piece, for %s (type TXT):\n\n%s\n", k.name(), record)
	path := k.file
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	fmt.Fprintf(w, "\nFor the configuration, below signing: keys:, once the record is published:\n\n"+
		"    - {domain: %s, selector: %s, key: %s}\n", k.domain, config.Text(k.selector), config.Text(path))
	_, err = io.WriteString(a.o.Stdout, w.String())
	return err
}

// zoneLine writes a TXT record for a zone file. RFC 1035 3.3: a character-string has at most 255 octets; RFC 6376
// 3.6.2.2: they are joined without anything between.
func zoneLine(name, record string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. IN TXT (", name)
	for rest := record; rest != ""; {
		n := min(len(rest), 255)
		fmt.Fprintf(&b, "\n    %q", rest[:n])
		rest = rest[n:]
	}
	b.WriteString(" )\n")
	return b.String()
}

// checkKeys compares every key of the configuration with what is published.
func (a *App) checkKeys(ctx context.Context) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	if cfg.Signing == nil {
		return exit(ExitConfig, "dkim-key: %s has no signing: there is no key to check", a.o.Config)
	}
	var all []namedKey
	add := func(path, domain, selector, file string) error {
		private, err := readKey(file)
		if err != nil {
			return &Exit{Code: ExitConfig, Err: cfg.Errorf(path, "%s", err)}
		}
		all = append(all, namedKey{domain, selector, file, private.Signer})
		return nil
	}
	for i, k := range cfg.Signing.Keys {
		if err := add(fmt.Sprintf("signing.keys[%d].key", i), k.Domain, k.Selector, k.Key); err != nil {
			return err
		}
	}
	if k := cfg.Signing.Seal; k != nil {
		if err := add("signing.seal.key", k.Domain, k.Selector, k.Key); err != nil {
			return err
		}
	}
	return a.comparePublished(ctx, cfg, all)
}

// comparePublished asks for the record of each key, and tells whether it is there and the key's.
func (a *App) comparePublished(ctx context.Context, cfg *config.Config, keys []namedKey) error {
	resolver, _, err := (*resolvers)(nil).forConfig(cfg)
	if err != nil {
		return &Exit{Code: ExitConfig, Err: err}
	}
	code := 0
	for _, k := range keys {
		word, worse := published(ctx, resolver, k)
		fmt.Fprintf(a.o.Stdout, "%s: %s\n", k.name(), word)
		if code != ExitData && worse != 0 { // that a record is wrong says more than that another can't be had
			code = worse
		}
	}
	if code != 0 {
		return &Exit{Code: code}
	}
	return nil
}

// published says what the DNS has for a key, and the exit code for it.
func published(ctx context.Context, r dkim.Resolver, k namedKey) (word string, code int) {
	key, err := dkim.FetchKey(ctx, r, k.selector, k.domain)
	var failure *dkim.Error
	switch {
	case errors.As(err, &failure) && failure.Result == dkim.TempError:
		return "not known: " + failure.Reason, ExitUnavailable
	case errors.As(err, &failure):
		return "wrong: " + visible(failure.Reason), ExitData
	case !key.Matches(k.private.Public()):
		return "wrong: the record is of another key than " + k.file, ExitData
	case key.Testing:
		return "ok, but t=y says that the domain only tests", 0
	}
	return "ok", 0
}
