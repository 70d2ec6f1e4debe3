package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
)

// Load reads the file at path. See Parse; an error that is not an Errors says that the file could not be
// read at all.
func Load(path string, kinds []string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	if !info.Mode().IsRegular() && info.IsDir() {
		return nil, fmt.Errorf("config: %s is a folder", path)
	}
	data, err := readAll(f)
	if err != nil {
		return nil, fmt.Errorf("config: %s: %w", path, err)
	}
	return Parse(path, data, kinds)
}

// Parse reads a configuration. The name stands in errors; kinds are the filter kinds that this program
// has. Nothing but data is looked at: whether the files that it names are there is CheckFiles' to say.
// An error is an Errors with every fault that was found.
func Parse(name string, data []byte, kinds []string) (*Config, error) {
	src, root, errs := readTree(name, lineEnds(data))
	if root == nil {
		return nil, src.finish(errs)
	}
	c := &Config{src: src, root: root, sum: sha256.Sum256(data)}
	c.defaults()
	d := decoder{src: src, errs: errs}
	d.decode(root, reflect.ValueOf(c).Elem(), field{})
	if root.kind == mapping || root.kind == null {
		k := checker{c: c, kinds: kinds, bad: d.bad, errs: d.errs}
		k.all()
		d.errs = k.errs
	}
	if len(d.errs) > 0 {
		return nil, src.finish(d.errs)
	}
	return c, nil
}

// Hash tells this configuration from another: the first 12 hex digits of the SHA-256 of the file, as sha256sum gives it. What
// the files that it names hold is not in it.
func (c *Config) Hash() string { return hex.EncodeToString(c.sum[:6]) }

// lineEnds makes every line end LF, as YAML 1.2 5.4 has it, so that everyone counts the same lines.
func lineEnds(data []byte) []byte {
	if bytes.IndexByte(data, '\r') < 0 {
		return data
	}
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
}

// locate walks a path such as routes[0].to[1] or listeners.public.tls; a key that itself holds dots or
// brackets can be quoted: weights."a.b". It gives the node and the place of its key, or of the last step
// that was there, and whether it got to the end.
func locate(n *node, path string) (*node, Pos, bool) {
	if n == nil {
		return nil, Pos{}, false
	}
	at := n.pos
	for path != "" {
		step, index, rest := nextStep(path)
		var next *node
		if index >= 0 {
			if n.kind == sequence && index < len(n.items) {
				next, at = n.items[index], n.items[index].pos
			}
		} else if p := n.pair(step); p != nil {
			next, at = p.value, p.keyPos
			if p.value.kind == scalar {
				at = p.value.pos
			}
		}
		if next == nil {
			return n, at, false
		}
		n, path = next, rest
	}
	return n, at, true
}

// nextStep cuts the first step off a path: a key (index < 0) or an index.
func nextStep(path string) (key string, index int, rest string) {
	path = strings.TrimPrefix(path, ".")
	if inner, ok := strings.CutPrefix(path, "["); ok {
		num, rest, _ := strings.Cut(inner, "]")
		if i, err := strconv.Atoi(num); err == nil && i >= 0 {
			return "", i, rest
		}
		return "[", -1, rest
	}
	if q, err := strconv.QuotedPrefix(path); err == nil {
		key, _ = strconv.Unquote(q)
		return key, -1, path[len(q):]
	}
	if i := strings.IndexAny(path, ".["); i >= 0 {
		return path[:i], -1, path[i:]
	}
	return path, -1, ""
}

// Errorf makes an Error at the place of a key, such as "routes[0].upstream",
// "listeners.public.tls.certificate" or "filters.spf" (a filter by the name of its stage); where the
// file does not have the key, at the nearest one above.
func (c *Config) Errorf(path, format string, args ...any) *Error {
	return c.src.finish(Errors{c.src.errorAt(c.place(path), fmt.Sprintf(format, args...))})[0]
}

func (c *Config) place(path string) Pos {
	if rest, ok := strings.CutPrefix(path, "filters."); ok {
		for _, f := range c.Filters {
			if below, ok := strings.CutPrefix(rest, f.Name); ok && (below == "" || strings.ContainsAny(below[:1], ".[")) {
				if _, at, ok := locate(f.options, below); ok && below != "" {
					return at
				}
				return f.Pos
			}
		}
	}
	_, at, _ := locate(c.root, path)
	return at
}
