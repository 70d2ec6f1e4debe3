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
	tests := []struct {
		name string
		docs []string
		want config
	}{
		{"nothing", nil, defaults()},
		{"one class", []string{"classes: {script: reject}"}, config{
			Classes: classRules{executable: strip, script: reject, shortcut: strip},
			Names:   nameRules{"*.reg": strip}, Types: typeRules{}, KeepOriginal: true,
		}},
		{"an overlay", []string{
			"classes: {script: tag}\nnames: {'*.bin': reject}\nkeep_original: false",
			"classes: {shortcut: pass}\nnames: {'*.reg': pass}\ntypes: {image/*: pass}",
		}, config{
			Classes: classRules{executable: strip, script: tag, shortcut: pass},
			Names:   nameRules{"*.reg": pass, "*.bin": reject}, Types: typeRules{"image/*": pass},
		}},
		{"an overlay in another case", []string{"names: {'*.REG': tag}\ntypes: {Image/PNG: tag}"}, config{
			Classes: classRules{executable: strip, script: strip, shortcut: strip},
			Names:   nameRules{"*.reg": tag}, Types: typeRules{"image/png": tag}, KeepOriginal: true,
		}},
		{"an overlay of a map that is empty or null", []string{"names: {'*.bin': reject}", "names: {}\nclasses:\n"}, config{
			Classes: classRules{executable: strip, script: strip, shortcut: strip},
			Names:   nameRules{"*.reg": strip, "*.bin": reject}, Types: typeRules{}, KeepOriginal: true,
		}},
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
		{"class of a later version", "classes: {macro: strip}", `class "macro" is not in this version; allowed: executable, script, shortcut`},
		{"no such class", "classes: {virus: strip}", `class "virus" is unknown; allowed: executable, script, shortcut`},
		{"no such action", "classes: {script: delete}", `action "delete" is unknown; allowed: pass, tag, strip, quarantine, reject`},
		{"no such action by name", "names: {'*.x': drop}", `action "drop" is unknown`},
		{"null action", "classes: {script: }", `class "script" has no action; allowed: pass, tag, strip, quarantine, reject`},
		{"null action by name", "names: {'*.x': }", `"*.x" has no action`},
		{"key of a later version", "archives: {depth: 5}", `unknown field "archives"`},
		{"another key of a later version", "ambiguous: rebuild", `unknown field "ambiguous"`},
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

func TestSpec(t *testing.T) {
	spec, _, err := Factory.New(filter.Env{Name: "strict-attachments"}, decoder())
	if err != nil {
		t.Fatal(err)
	}
	if spec.Name != "strict-attachments" || spec.Phases != filter.In(filter.Data) {
		t.Errorf("name %q, phases %b", spec.Name, spec.Phases)
	}
	if d := cmp.Diff([]string{"parts", "keep_original"}, spec.Provides); d != "" {
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
