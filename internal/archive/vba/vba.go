// Package vba tells from the storage of a VBA project (MS-OVBA) whether a document holds macros and whether they run
// by themselves. It is not an interpreter: it does not judge what a macro does.
package vba

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/ole"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// maxStream is the longest stream of a project that is read; modules have at most 65535 lines.
const maxStream = 32 << 20

// Is reports whether a storage is that of a project's modules (MS-OVBA 2.2.1: it is named VBA and holds the streams
// dir and _VBA_PROJECT). Either is enough: who stores a macro need not keep to the rest.
func Is(s *ole.Storage) bool {
	return s.Stream("_VBA_PROJECT") != nil || strings.EqualFold(s.Name, "VBA") && len(s.Streams) > 0
}

// project is what is known of one while it is read.
type project struct {
	b       *archive.Budget
	modules []module
	source  bool     // there is code in clear
	auto    []string // names in the source that run by themselves
	stomped string   // a module that has compiled code only
	remote  string   // a project that this one loads from elsewhere
	problem error    // the first thing that could not be read
}

// module is an entry of the dir stream (MS-OVBA 2.3.4.2.3.2).
type module struct {
	name   string
	stream string
	offset uint32
}

// Scan reads the project in s and says what it is with at most three signs. The error is of the context, of reading
// the file, or what sign returned.
func Scan(ctx context.Context, s *ole.Storage, b *archive.Budget, sign func(archive.Sign) error) error {
	p := &project{b: b}
	if err := p.read(ctx, s); err != nil {
		return err
	}
	var spent *archive.ErrBudget
	if errors.As(p.problem, &spent) {
		if err := sign(archive.Sign{Kind: archive.Bomb, Why: "macros: " + spent.Error()}); err != nil {
			return err
		}
	} else if p.problem != nil {
		if err := sign(archive.Sign{Kind: archive.Unreadable, Why: "macros: " + p.problem.Error()}); err != nil {
			return err
		}
	}
	switch {
	case len(p.auto) > 0:
		return sign(archive.Sign{Kind: archive.MacroAuto, Why: "the macro " + strings.Join(p.auto, ", ") + " runs by itself"})
	case p.stomped != "":
		return sign(archive.Sign{Kind: archive.MacroAuto, Why: p.stomped})
	case p.remote != "":
		return sign(archive.Sign{Kind: archive.MacroAuto, Why: "the macros load a project from elsewhere: " + p.remote})
	case p.source:
		return sign(archive.Sign{Kind: archive.Macro, Why: "there are macros"})
	}
	return nil
}

func (p *project) note(err error) {
	if err != nil && p.problem == nil {
		p.problem = err
	}
}

// read looks at all modules: those that the dir stream lists where it says they are, and whatever else is there by
// searching.
func (p *project) read(ctx context.Context, s *ole.Storage) error {
	dir, err := p.content(s.Stream("dir"))
	if err != nil {
		return err
	}
	listed := false
	if dir != nil {
		plain, problem := Decompress(dir, maxStream, p.b)
		if problem != nil {
			p.note(fmt.Errorf("the list of modules: %w", problem))
		}
		listed = p.readDir(plain) && problem == nil
	}
	known := map[string]module{}
	for _, m := range p.modules {
		known[strings.ToLower(m.stream)] = m
	}
	for _, c := range s.Streams {
		name := strings.ToLower(c.Name)
		if name == "dir" || name == "_vba_project" || strings.HasPrefix(name, "__srp_") {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := p.content(c)
		if err != nil {
			return err
		}
		m, ok := known[name]
		delete(known, name)
		p.readModule(c.Name, data, m, ok)
	}
	for _, m := range known {
		p.note(fmt.Errorf("the module %q is not there", m.name))
	}
	if !listed && p.stomped == "" && len(s.Streams) > 0 {
		p.stomped = "there is a project of macros whose source can't be read"
	}
	return p.compareNames(s)
}

// content reads a stream; nil where it is not there or too long.
func (p *project) content(s *ole.Stream) ([]byte, error) {
	if s == nil {
		return nil, nil
	}
	f, problem := s.File()
	p.note(problem)
	b, ok, err := f.Bytes(maxStream)
	if err != nil {
		return nil, err
	}
	if !ok {
		p.note(fmt.Errorf("the stream %q is longer than %d octets", s.Name, maxStream))
	}
	return b, nil
}

// Records of the dir stream (MS-OVBA 2.3.4.2).
const (
	recordVersion       = 0x0009
	recordProjectRef    = 0x000e
	recordModuleName    = 0x0019
	recordStreamName    = 0x001a
	recordModuleNameU   = 0x0047
	recordStreamNameU   = 0x0032
	recordModuleOffset  = 0x0031
	recordModuleEnd     = 0x002b
	recordEndOfProjects = 0x0010
)

// readDir reads the list of modules; ok is false where it is none.
func (p *project) readDir(b []byte) (ok bool) {
	var m module
	for len(b) >= 6 {
		id, size := binary.LittleEndian.Uint16(b), int64(binary.LittleEndian.Uint32(b[2:]))
		if id == recordVersion {
			size = 6 // MS-OVBA 2.3.4.2.1.11: the length says 4, and does not count the minor version
		}
		if b = b[6:]; size > int64(len(b)) {
			p.note(errors.New("the list of modules is cut short"))
			return false
		}
		data := b[:size]
		b = b[size:]
		switch id {
		case recordProjectRef:
			if r := remoteProject(data); r != "" {
				p.remote = r
			}
		case recordModuleName:
			m = module{name: string(data), stream: string(data)}
		case recordModuleNameU:
			m.name = tell.UTF16(binary.LittleEndian, data)
		case recordStreamName:
			m.stream = string(data)
		case recordStreamNameU:
			m.stream = tell.UTF16(binary.LittleEndian, data)
		case recordModuleOffset:
			if len(data) >= 4 {
				m.offset = binary.LittleEndian.Uint32(data)
			}
		case recordModuleEnd:
			if len(p.modules) < 1<<16 {
				p.modules = append(p.modules, m)
			}
			m = module{}
		case recordEndOfProjects:
			return true
		}
	}
	p.note(errors.New("the list of modules has no end"))
	return false
}

// remoteProject gives where a reference to another project leads, when that is another machine (MS-OVBA 2.3.4.2.2.6
// and 2.1.1.12: "*\A" or "*\C", then a path).
func remoteProject(b []byte) string {
	if len(b) < 4 {
		return ""
	}
	n := min(int64(binary.LittleEndian.Uint32(b)), int64(len(b)-4))
	path := string(b[4 : 4+n])
	if len(path) > 3 && path[0] == '*' {
		path = path[3:]
	}
	l := strings.ToLower(path)
	if strings.HasPrefix(l, `\\`) || strings.HasPrefix(l, "http:") || strings.HasPrefix(l, "https:") {
		return path
	}
	return ""
}

// readModule judges one module. Where its source is not at the place that was announced, it is searched for.
func (p *project) readModule(stream string, data []byte, m module, listed bool) {
	name := m.name
	if !listed {
		name = stream
	}
	var source []byte
	problem := errors.New("it has no source")
	at := int64(m.offset)
	if listed && at < int64(len(data)) {
		source, problem = Decompress(data[at:], maxStream, p.b)
	}
	var spent *archive.ErrBudget
	if errors.As(problem, &spent) {
		p.note(problem)
	}
	if !listed || problem != nil && len(source) == 0 {
		if at = findSource(data); at >= 0 {
			source, _ = Decompress(data[at:], maxStream, p.b)
		} else {
			at = int64(len(data))
		}
	}
	code, auto, lines := judge(name, source)
	p.source = p.source || code
	for _, a := range auto {
		if len(p.auto) < 5 {
			p.auto = append(p.auto, a)
		}
	}
	compiled := compiledLines(data[:min(at, int64(len(data)))])
	switch {
	case listed && problem != nil && len(data) > 0:
		p.stomped = fmt.Sprintf("the source of the macros in %q can't be read: %v", name, problem)
	case !code && compiled > lines+2, compiled > 2*lines+8:
		// Word and Excel run the compiled form where it is of their own version.
		p.stomped = fmt.Sprintf("%q has %d lines of compiled macros for %d of source", name, compiled, lines)
	}
}

// findSource gives where compressed source seems to begin: all of it begins with an attribute, of which the
// compression leaves these letters as they are. It is negative where there is none.
func findSource(data []byte) int64 {
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte("\x00Attribut"))
		if i < 0 {
			return -1
		}
		if at += i; at >= 3 && data[at-3] == 1 {
			return int64(at - 3)
		}
		at++
	}
}

// compiledLines counts the lines that are not empty in the compiled form of a module, which precedes its source. The
// form is not documented; known is its table of lines: FE CA 01 00, a count of lines, and twelve octets for each of
// which the fifth and sixth are the length of the compiled line.
func compiledLines(cache []byte) int {
	for {
		i := bytes.Index(cache, []byte("\xfe\xca\x01\x00"))
		if i < 0 || len(cache) < i+6 {
			return 0
		}
		count := int(binary.LittleEndian.Uint16(cache[i+4:]))
		table := cache[i+6:]
		if 12*count > len(table) {
			cache = cache[i+4:]
			continue
		}
		lines := 0
		for l := range count {
			if binary.LittleEndian.Uint16(table[12*l+4:]) > 0 {
				lines++
			}
		}
		return lines
	}
}

// compareNames looks whether the compiled project knows a name that runs by itself and that its source lacks. The
// names of all identifiers are in clear in the stream _VBA_PROJECT.
func (p *project) compareNames(s *ole.Storage) error {
	if !p.source || len(p.auto) > 0 || p.stomped != "" {
		return nil
	}
	b, err := p.content(s.Stream("_VBA_PROJECT"))
	if err != nil {
		return err
	}
	if name := compiledAuto(b); name != "" {
		p.stomped = fmt.Sprintf("the compiled macros know %s, which runs by itself, and their source does not", name)
	}
	return nil
}
