package app

import (
	"crypto"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/signing"
)

// newSigner reads the keys that a configuration names and makes the signer of them; nil where it names none.
// Errors are config.Errors, each at the place of the file's name.
func newSigner(cfg *config.Config, log *slog.Logger) (edge.Signer, error) {
	c := cfg.Signing
	if c == nil {
		return nil, nil
	}
	var faults config.Errors
	read := func(path, file string) crypto.Signer {
		key, err := readKey(file)
		if err != nil {
			faults = append(faults, cfg.Errorf(path, "%s", err))
			return nil
		}
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o004 != 0 {
			log.Warn("everybody on this host may read a key that signs: chmod o-r", "file", file)
		}
		if key.Warning != "" {
			log.Warn("a key that signs is weak: "+key.Warning, "file", file)
		}
		return key.Signer
	}
	o := signing.Options{Oversign: c.Oversign, Expire: c.Expire}
	for i, k := range c.Keys {
		o.Keys = append(o.Keys, signing.Key{
			Domain: k.Domain, Selector: k.Selector, Subdomains: k.Subdomains,
			Private: read(fmt.Sprintf("signing.keys[%d].key", i), k.Key),
		})
	}
	if k := c.Seal; k != nil {
		o.Seal = &signing.Key{Domain: k.Domain, Selector: k.Selector, Private: read("signing.seal.key", k.Key)}
		if !slices.ContainsFunc(cfg.Filters, func(f *config.Filter) bool { return f.Kind == "arc" }) {
			faults = append(faults, cfg.Errorf("signing.seal", "a seal says what the filter arc found, and filters has none"))
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	s, err := signing.New(o)
	if err != nil {
		return nil, config.Errors{cfg.Errorf("signing", "%s", err)}
	}
	return s, nil
}
