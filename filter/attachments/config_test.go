package attachments

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/filter"
)

// decoder decodes YAML documents onto the same value, one after the other, as a policy's overlay is.
func decoder(docs ...string) func(any) error {
	return func(v any) error {
		for _, d := range docs {
			if strings.TrimSpace(d) == "" {
				continue
			}
			if err := yaml.NewDecoder(strings.NewReader(d), yaml.Strict()).Decode(v); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestDecodingMerges(t *testing.T) {
	// with gives the defaults but for what change does to them.
	with := func(change func(*config)) config {
		c := defaults()
		change(&c)
		return c
	}
	tests := []struct {
		name string
		docs []string
		want config
	}{
		{"nothing", nil, defaults()},
		{"one class", []string{"classes: {script: reject}"}, with(func(c *config) { c.Classes[script] = reject })},
		{"every class", []string{
			"classes: {executable: tag, script: tag, shortcut: tag, macro_auto: tag, macro: tag, disk_image: tag, active_html: tag, " +
				"active_pdf: tag, partial: tag, encrypted: tag, sealed: tag, unreadable: tag, bomb: tag}",
		}, with(func(c *config) {
			for _, k := range classes {
				c.Classes[k] = tag
			}
		})},
		{"an overlay", []string{
			"classes: {script: tag}\nnames: {'*.bin': reject}\nkeep_original: false",
			"classes: {shortcut: pass}\nnames: {'*.reg': pass}\ntypes: {image/*: pass}",
		}, with(func(c *config) {
			c.Classes[script], c.Classes[shortcut] = tag, pass
			c.Names, c.Types, c.KeepOriginal = nameRules{"*.reg": pass, "*.bin": reject}, typeRules{"image/*": pass}, false
		})},
		{"an overlay in another case", []string{"names: {'*.REG': tag}\ntypes: {Image/PNG: tag}"}, with(func(c *config) {
			c.Names, c.Types = nameRules{"*.reg": tag}, typeRules{"image/png": tag}
		})},
		{"an overlay of a map that is empty or null", []string{"names: {'*.bin': reject}", "names: {}\nclasses:\n"}, with(func(c *config) {
			c.Names["*.bin"] = reject
		})},
		{"bounds, one after the other", []string{
			"archives: {depth: 3, octets: 1GiB}\nambiguous: reject", "archives: {ratio: 1000, files: 1}", "archives: {octets: 7}",
		}, with(func(c *config) {
			c.Archives, c.Ambiguous = archives{Depth: 3, Files: 1, Octets: 7, Ratio: 1000}, rejectAmbiguous
		})},
		{"ambiguous", []string{"ambiguous: quarantine", "ambiguous: pass"}, with(func(c *config) { c.Ambiguous = passAmbiguous })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := defaults()
			if err := decoder(tt.docs...)(&got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			// Decoding must not reach into the defaults of the next filter.
			if d := cmp.Diff(strip, defaults().Classes[script]); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestConfigurationErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	tests := []struct{ name, doc, want string }{
		{"no such class", "classes: {virus: strip}", `class "virus" is unknown; allowed: executable, script, shortcut, macro_auto, macro, disk_image, active_html, active_pdf, partial, encrypted, sealed, unreadable, bomb`},
		{"no such action", "classes: {script: delete}", `action "delete" is unknown; allowed: pass, score, tag, strip, quarantine, reject`},
		{"no such action by name", "names: {'*.x': drop}", `action "drop" is unknown`},
		{"null action", "classes: {script: }", `class "script" has no action; allowed: pass, score, tag, strip, quarantine, reject`},
		{"null action by name", "names: {'*.x': }", `"*.x" has no action`},
		{"no such bound", "archives: {deep: 5}", `unknown field "deep"`},
		{"no depth", "archives: {depth: 0}", `"0" is no bound; allowed: whole numbers from 1 to 2147483647`},
		{"negative files", "archives: {files: -1}", `"-1" is no bound`},
		{"word for a ratio", "archives: {ratio: many}", `"many" is no bound`},
		{"ratio with a unit", "archives: {ratio: 1k}", `"1k" is no bound`},
		{"no octets", "archives: {octets: 0}", `"0" is no size; allowed: a whole number from 1, alone or with KiB, MiB`},
		{"no such unit", "archives: {octets: 5MB}", `"5MB" is no size`},
		{"too many octets", "archives: {octets: 9000000TiB}", `"9000000TiB" is no size`},
		{"no such way", "ambiguous: strip", `value of ambiguous "strip" is unknown; allowed: rebuild, reject, quarantine, pass`},
		{"malformed pattern", "names: {'[a': strip}", `pattern "[a" is malformed`},
		{"empty pattern", "names: {'': strip}", `pattern "" is malformed`},
		{"name with a folder", "names: {'a/*.exe': strip}", "has a slash"},
		{"type without a slash", "types: {image: strip}", `"image" is not a media type`},
		{"absent notice", "notice: " + filepath.Join(dir, "absent"), "notice: open"},
		{"malformed notice", "notice: " + file("bad", "{{if}}"), "notice: template:"},
		{"notice with an unknown name", "notice: " + file("unknown", "{{.Nmae}}"), "can't evaluate field Nmae"},
		{"empty notice", "notice: " + file("empty", "\n\n"), "empty text"},
		{"endless notice", "notice: " + file("endless", `{{define "a"}}xxxxxxxxxxxxxxxxxxxxxxx{{template "a"}}{{end}}{{template "a"}}`), "notice: "},
		{"huge notice", "notice: " + file("huge", strings.Repeat("x", noticeLimit+1)), "more than 65536 octets"},
		{"notice in another charset", "notice: " + file("latin1", "gel\xf6scht"), "not UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, f, err := Factory.New(filter.Env{Name: "attachments"}, decoder(tt.doc))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("filter %v, error %v, want %q", f, err, tt.want)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]octets{
		"1": 1, "65536": 65536, "256MiB": 256 << 20, "2 GiB": 2 << 30, "1TiB": 1 << 40, "3KiB": 3072, "5k": 5000, "1M": 1e6, "2G": 2e9, "1T": 1e12,
	} {
		var a archives
		if err := decoder("octets: " + in)(&a); err != nil || a.Octets != want {
			t.Errorf("%s: %d, %v, want %d", in, a.Octets, err, want)
		}
		if got := a.limits("/d"); got.Octets != int64(want) || got.Dir != "/d" {
			t.Errorf("%s: %+v", in, got)
		}
	}
}

func TestSpec(t *testing.T) {
	spec, _, err := Factory.New(filter.Env{Name: "strict-attachments"}, decoder())
	if err != nil {
		t.Fatal(err)
	}
	if spec.Name != "strict-attachments" || spec.Phases != filter.In(filter.Data) {
		t.Errorf("name %q, phases %b", spec.Name, spec.Phases)
	}
	if d := cmp.Diff([]string{"parts", "keep_original", "unpack_limits"}, spec.Provides); d != "" {
		t.Error(d)
	}
}

func TestGlobOrder(t *testing.T) {
	var r nameRules
	if err := decoder(`{"*": tag, "*.bin": strip, "setup-?.bin": pass, "SETUP-[12].bin": reject, "x.bin": pass}`)(&r); err != nil {
		t.Fatal(err)
	}
	g := r.compile()
	for name, want := range map[string]action{
		"a": tag, "a.bin": strip, "setup-3.bin": pass, "setup-1.bin": reject, "x.bin": pass,
	} {
		if got, ok := g.find(name); !ok || got.action != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
