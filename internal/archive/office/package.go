package office

import (
	"context"
	"errors"
	"path"
	"sort"
	"strings"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/ole"
	"github.com/postern-mail/postern/internal/archive/zip"
)

// maxParts is how many names of files of one document are kept.
const maxParts = 20000

// IsPackage reports whether a zip archive is a document of OOXML (ECMA-376 Part 2) or ODF, by the names of its files.
func IsPackage(r *zip.Reader) bool {
	for _, e := range r.Entries() {
		for _, name := range e.Names {
			switch strings.ToLower(strings.TrimLeft(strings.ReplaceAll(name, `\`, "/"), "/")) {
			case "[content_types].xml", "meta-inf/manifest.xml":
				return true
			}
		}
	}
	return false
}

// WalkZip implements archive.Walk for documents that are zip archives. The parts of which the document itself is made
// are looked into; all other files inside are handed on.
func WalkZip(ctx context.Context, f *archive.File, b *archive.Budget, v archive.Visitor) error {
	r, err := zip.Open(ctx, f, b)
	if err != nil {
		return err
	}
	return WalkPackage(ctx, r, b, v)
}

// WalkPackage is WalkZip for an archive that is open already.
func WalkPackage(ctx context.Context, r *zip.Reader, b *archive.Budget, v archive.Visitor) error {
	w := &walker{b: b, v: v}
	p := &pack{w: w, r: r, ciphered: map[string]bool{}}
	err := p.walk(ctx)
	for _, s := range r.Signs() {
		w.say(s.Kind, "zip", "%s", s.Why)
	}
	return w.end(err)
}

// pack is a document in a zip archive while it is read.
type pack struct {
	w        *walker
	r        *zip.Reader
	ciphered map[string]bool // files that are encrypted by the word of the manifest
}

// walk looks at all files, and first at those that say what the others are.
func (p *pack) walk(ctx context.Context) error {
	entries := append([]*zip.Entry(nil), p.r.Entries()...)
	sort.SliceStable(entries, func(i, j int) bool { return lists(entries[i]) && !lists(entries[j]) })
	for _, e := range entries {
		if e.Folder && !e.Encrypted {
			continue
		}
		if err := p.entry(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

func lists(e *zip.Entry) bool {
	return len(e.Names) > 0 && (e.Names[0] == "[Content_Types].xml" || e.Names[0] == "META-INF/manifest.xml")
}

// entry looks at one file.
func (p *pack) entry(ctx context.Context, e *zip.Entry) error {
	ciphered := false
	for _, name := range e.Names {
		ciphered = ciphered || p.ciphered[name]
	}
	f, problem, err := p.r.Spool(ctx, e, p.w.b)
	if err != nil {
		return err
	}
	if f != nil {
		defer func() { _ = f.Close() }()
	}
	if problem != nil {
		s := zip.SignOf(e, problem)
		p.w.say(s.Kind, "zip", "%s", s.Why)
		var spent *archive.ErrBudget
		if errors.As(problem, &spent) {
			return errStop
		}
	}
	known := false
	if f != nil {
		known, err = p.content(ctx, e, f)
		if err != nil {
			return err
		}
	}
	if known {
		return nil
	}
	if ciphered {
		return p.w.v.File(&archive.Entry{Names: e.Names, Size: e.Size})
	}
	return p.w.v.File(&archive.Entry{Names: e.Names, Size: e.Size, File: f})
}

// content looks into a file by what it is. It is known when it is a part of the document itself.
func (p *pack) content(ctx context.Context, e *zip.Entry, f *archive.File) (known bool, err error) {
	head, err := f.Head(4 << 10)
	if err != nil {
		return false, err
	}
	name := "a part without a name"
	if len(e.Names) > 0 {
		name = e.Names[0]
	}
	low := strings.ToLower(name)
	switch {
	case ole.Is(head):
		return p.w.project(ctx, f)
	case IsActiveMime(head):
		return true, p.w.walkActiveMime(ctx, f, name)
	case likeXML(head):
		return p.xml(ctx, name, f)
	case strings.HasSuffix(low, ".bin") && (strings.HasPrefix(low, "xl/") || strings.HasPrefix(low, "/xl/")) && isBIFF12(head):
		return true, p.w.walkBIFF12(ctx, name, f)
	case beginsBIFF12(head): // a part may have any name
		return false, p.w.walkBIFF12(ctx, name, f)
	case strings.Contains(low, "vbaproject") && strings.HasSuffix(low, ".bin") && f.Size() > 0:
		p.w.say(archive.Unreadable, "macros", "%s should hold macros, and is no compound file", name)
	case low == "mimetype" && f.Size() < 256:
		return true, nil
	case strings.HasPrefix(low, "scripts/"):
		p.w.say(archive.Macro, "macros", "there is a script: %s", name)
	}
	return false, nil
}

// project looks at a compound file, if it is one of macros and not an embedded document.
func (w *walker) project(ctx context.Context, f *archive.File) (known bool, err error) {
	root, problem, err := ole.Open(ctx, f)
	if err != nil || root == nil || !isProject(root) {
		return false, err
	}
	if err := w.problem("the macros", problem); err != nil {
		return true, err
	}
	return true, w.walkRoot(ctx, root)
}

// xml reads a part in XML, and takes over what it says of others.
func (p *pack) xml(ctx context.Context, name string, f *archive.File) (known bool, err error) {
	known = ownPart(name)
	x, err := p.w.scanXML(ctx, name, f, nil)
	if err != nil {
		return false, err
	}
	for i, c := range x.ciphered {
		if i == 0 {
			p.w.say(archive.Encrypted, "", "the document is encrypted")
		}
		p.ciphered[c] = true
	}
	switch x.root {
	case "svg", "job", "package", "scriptlet", "component", "stylesheet", "transform":
		known = false // others than the document's program run these, or show them
	}
	if strings.EqualFold(x.root, "html") {
		known = false
	}
	return known, nil
}

// ownPart reports whether a file in XML is of the document itself by its name: nobody takes it out of there.
func ownPart(name string) bool {
	low := strings.TrimLeft(strings.ToLower(strings.ReplaceAll(name, `\`, "/")), "/")
	switch path.Ext(low) {
	case ".xml", ".rels", ".vml", ".rdf", ".xlb", ".xlc":
	default:
		return false
	}
	first, _, inFolder := strings.Cut(low, "/")
	if !inFolder {
		return true
	}
	switch first {
	case "_rels", "docprops", "word", "xl", "ppt", "visio", "customxml", "meta-inf", "basic", "configurations2", "dialogs", "docmetadata", "customui", "drs", "theme", "_xmlsignatures", "clipboard":
		return true
	}
	return strings.HasPrefix(first, "object ")
}
