package edge

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postern-mail/postern/internal/peertest/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

var update = flag.Bool("update", false, "write docs/engines.md anew")

// engines are those that the dialogs are held with, by their names in the configuration.
var engines = []string{EnginePostern, EngineGoSMTP}

// TestDialogs runs the files of testdata/dialog with each engine. A file has a comment that says why, a file
// "config" with one setting on each line (see configure), and files whose names begin with "dialog", each a
// connection of its own, run in order. A line of a dialog is a step (see step and expect).
//
// Where an engine does something else than the rule says, a setting says so, in four parts:
//
//	differs: ENGINE | RFC N SECTION | what it does | what the RFC says
//
// and a line with the engine's name behind its word, "S[ENGINE]: RE", takes the place of the line above it, or
// a file "dialog-x[ENGINE]" that of "dialog-x". What is replaced must fail with this engine: a difference that
// is gone has to leave the file. A file that differs without saying how must fail as a whole. All differences
// are listed in docs/engines.md.
func TestDialogs(t *testing.T) {
	for _, s := range scripts(t) {
		for _, engine := range engines {
			t.Run(s.name+"/"+engine, func(t *testing.T) {
				t.Parallel()
				s.run(t, engine)
			})
		}
	}
}

// script is one file of testdata/dialog.
type script struct {
	name     string
	why      string
	settings map[string][]string
	parts    []part
	differs  []difference
	paused   bool // every wait of our engine is a pause, see doze.go
}

// part is one dialog.
type part struct {
	name   string
	engine string // "": every one
	text   string
}

// difference is what one engine does against a rule.
type difference struct{ engine, rule, does, says string }

func scripts(t testing.TB) []*script {
	files, err := filepath.Glob("testdata/dialog/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialog files: %v", err)
	}
	var all []*script
	for _, f := range files {
		a, err := txtar.ParseFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, newScript(t, strings.TrimSuffix(filepath.Base(f), ".txtar"), a))
	}
	return all
}

func newScript(t testing.TB, name string, a *txtar.Archive) *script {
	s := &script{name: name, why: strings.TrimSpace(string(a.Comment)), settings: map[string][]string{}}
	if s.why == "" {
		t.Errorf("%s does not say why", name)
	}
	for _, file := range a.Files {
		switch {
		case strings.HasPrefix(file.Name, "dialog"):
			p := part{name: file.Name, text: string(file.Data)}
			if plain, engine, ok := strings.Cut(strings.TrimSuffix(file.Name, "]"), "["); ok {
				p.name, p.engine = plain, engine
			}
			s.parts = append(s.parts, p)
		case file.Name != "config":
			t.Errorf("%s: what is %s?", name, file.Name)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(file.Data)), "\n") {
			key, value, ok := strings.Cut(line, ":")
			value = strings.TrimSpace(value)
			switch {
			case file.Name != "config" || !ok:
			case key == "differs":
				w := strings.Split(value, " | ")
				if len(w) != 4 {
					t.Fatalf("%s: %q is not engine | rule | does | says", name, value)
				}
				s.differs = append(s.differs, difference{w[0], w[1], w[2], w[3]})
			default:
				s.settings[key] = append(s.settings[key], value)
			}
		}
	}
	return s
}

// differing reports whether the file says that the engine differs.
func (s *script) differing(engine string) bool {
	return slices.ContainsFunc(s.differs, func(d difference) bool { return d.engine == engine })
}

// parts to run with an engine: those of its own in place of the plain ones; but the plain one of the name in spite.
func (s *script) chosen(engine, inSpite string) (chosen []part, replaced []string) {
	for _, p := range s.parts {
		own := slices.ContainsFunc(s.parts, func(q part) bool { return q.name == p.name && q.engine == engine })
		switch {
		case p.engine == "" && own && p.name != inSpite:
			replaced = append(replaced, p.name)
		case p.engine == "", p.engine == engine && p.name != inSpite:
			chosen = append(chosen, p)
		}
	}
	return chosen, replaced
}

func (s *script) run(t *testing.T, engine string) {
	parts, replaced := s.chosen(engine, "")
	inLine := slices.ContainsFunc(parts, func(p part) bool { return strings.Contains(p.text, "["+engine+"]:") })
	differs := s.differing(engine)
	wait := longWait
	if differs && !inLine && len(replaced) == 0 {
		wait = time.Second // that a step fails is no news
	}
	failure := s.play(t, engine, parts, wait)
	switch {
	case !differs && (inLine || len(replaced) > 0):
		t.Errorf("no setting says why %s differs", engine)
	case differs && !inLine && len(replaced) == 0:
		if failure == "" {
			t.Errorf("%s does not differ", engine)
		}
		return
	}
	if failure != "" {
		t.Fatal(failure)
	}
	for _, name := range replaced {
		strict, _ := s.chosen(engine, name)
		if s.play(t, engine, strict, time.Second) == "" {
			t.Errorf("%s does not differ in %s", engine, name)
		}
	}
}

// play runs dialogs against a new door, with so much time for each reply, and gives what went wrong first.
func (s *script) play(t *testing.T, engine string, parts []part, wait time.Duration) (failure string) {
	change := func(d *door, cfg *ListenerConfig) {
		selectEngine(cfg, engine)
		cfg.dozesAtOnce = s.paused
		for key, values := range s.settings {
			for _, v := range values {
				configure(t, d, cfg, key, v)
			}
		}
	}
	if len(s.settings["clock"]) == 0 {
		d := newDoor(t, s.settings["filter"], change)
		return s.talk(t, d, engine, parts, wait, func() net.Conn { return dialDoor(t, d).conn })
	}
	synctest.Test(t, func(t *testing.T) {
		d := makeDoor(t, s.settings["filter"], change)
		d.served <- nil
		defer d.stop()
		failure = s.talk(t, d, engine, parts, time.Hour, func() net.Conn {
			ours, theirs := net.Pipe()
			d.srv.take(theirs)
			return ours
		})
	})
	return failure
}

// dialogFailure is what a step panics with.
type dialogFailure string

func (s *script) talk(t *testing.T, d *door, engine string, parts []part, wait time.Duration, dial func() net.Conn) (failure string) {
	var c *client
	defer func() {
		if c != nil {
			c.close()
		}
		switch v := recover().(type) {
		case nil:
		case dialogFailure:
			failure = string(v)
		default:
			panic(v)
		}
	}()
	for _, p := range parts {
		c = newClient(t, d, dial())
		c.engine, c.patience, c.fail = engine, wait, func(what string) { panic(dialogFailure(what)) }
		c.setDeadline()
		c.implicit(s.settings)
		c.dialog(p.name, p.text)
		c.close()
	}
	return ""
}

// TestDialogNames has every dialog about a rule name it in the way of the others, and counts them.
func TestDialogNames(t *testing.T) {
	rules := 0
	for _, s := range scripts(t) {
		if !strings.HasPrefix(s.name, "rfc") {
			continue
		}
		rules++
		rfc, rest, _ := strings.Cut(strings.TrimPrefix(s.name, "rfc"), "-")
		section, _, _ := strings.Cut(rest, "-")
		if want := fmt.Sprintf("RFC %s %s: ", rfc, section); !strings.HasPrefix(s.why, want) {
			t.Errorf("%s begins with %q, not %q", s.name, s.why[:min(len(s.why), 30)], want)
		}
	}
	if rules < 200 {
		t.Errorf("only %d dialogs", rules)
	}
}

// TestDifferencesAreDocumented holds docs/engines.md against the dialogs; with -update it writes it.
func TestDifferencesAreDocumented(t *testing.T) {
	const page, begin, end = "../../docs/engines.md", "<!-- differences -->\n", "<!-- end -->\n"
	doc, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(doc), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", page)
	}
	var b strings.Builder
	b.WriteString(head + begin + "| engine | rule | what it does | what the RFC says | dialogs |\n|---|---|---|---|---|\n")
	var order []difference
	dialogs := map[difference][]string{}
	for _, s := range scripts(t) {
		for _, d := range s.differs {
			if len(dialogs[d]) == 0 {
				order = append(order, d)
			}
			dialogs[d] = append(dialogs[d], "`"+s.name+"`")
		}
	}
	for _, d := range order {
		names := dialogs[d]
		if n := len(names); n > 5 {
			names = append(names[:3:3], fmt.Sprintf("and %d more", n-3))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", d.engine, d.rule, d.does, d.says, strings.Join(names, ", "))
	}
	b.WriteString(end + tail)
	if b.String() == string(doc) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the dialogs say; run go test ./internal/edge -run Differences -update", page)
	}
	if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
