package attachments

import (
	"bytes"
	"context"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/cab"
	"github.com/postern-mail/postern/internal/archive/codec"
	volume "github.com/postern-mail/postern/internal/archive/disk"
	"github.com/postern-mail/postern/internal/archive/foreign"
	"github.com/postern-mail/postern/internal/archive/markup"
	"github.com/postern-mail/postern/internal/archive/office"
	"github.com/postern-mail/postern/internal/archive/onenote"
	"github.com/postern-mail/postern/internal/archive/pdf"
	"github.com/postern-mail/postern/internal/archive/rar"
	"github.com/postern-mail/postern/internal/archive/rtf"
	envelope "github.com/postern-mail/postern/internal/archive/sealed"
	"github.com/postern-mail/postern/internal/archive/sevenzip"
	"github.com/postern-mail/postern/internal/archive/sheet"
	"github.com/postern-mail/postern/internal/archive/stream"
	"github.com/postern-mail/postern/internal/archive/tar"
	"github.com/postern-mail/postern/internal/archive/textenc"
	"github.com/postern-mail/postern/internal/archive/tnef"
	"github.com/postern-mail/postern/internal/archive/zip"
)

// textWalk finds the files that lie in a text.
var textWalk archive.Walk = textenc.Walk

// walks are the readers of containers, by the media type that detect gives. A zip file and a compound file have
// readers that depend on what they are.
var walks = map[string]archive.Walk{
	"application/x-tar":                 tar.Walk,
	"application/x-cpio":                tar.Walk,
	"application/x-archive":             tar.Walk,
	"application/x-7z-compressed":       sevenzip.Walk,
	"application/vnd.rar":               rar.Walk,
	"application/vnd.ms-cab-compressed": cab.Walk,
	"application/rtf":                   rtf.Walk,
	"application/pdf":                   pdf.Walk,
	"application/onenote":               onenote.Walk,
	"application/x-sylk":                sheet.Walk,
	"application/pkcs7-mime":            envelope.Walk,
	"application/pgp-encrypted":         envelope.Walk,
	"application/applefile":             envelope.Walk,
	"text/html":                         markup.Walk,
	"application/xhtml+xml":             markup.Walk,
	"image/svg+xml":                     markup.Walk,
	"application/xml":                   markup.Walk,
}

// streams are the media types of single files that are packed.
var streams = map[string]bool{
	"application/gzip": true, "application/x-compress": true, "application/x-bzip2": true, "application/x-xz": true,
	"application/x-lzip": true, "application/x-lzma": true, "application/zstd": true, "application/x-lz4": true, "application/x-lzop": true,
}

// open looks into a file, in every way in which somebody may open it: by what it is, and as what it may be beside
// that.
func (l *look) open(x *exam) error {
	if x.file.Size() == 0 {
		return nil
	}
	t := x.kind.mediaType
	var err error
	switch walk := walks[t]; {
	case x.body && isText(t):
	case t == "application/zip":
		return l.openZip(x)
	case t == "application/x-ole-storage":
		err = l.openOLE(x)
	case x.kind.class == diskImage:
		err = l.walk(x, volume.Walk, x.file, false)
	case t == "application/ms-tnef":
		err = l.run(tnef.Walk, x.file, &inside{look: l, x: x, bodies: true})
	case x.declares("application/pkcs7-signature", "application/x-pkcs7-signature"):
		// A signature has no content that anybody would miss.
		err = l.run(envelope.Walk, x.file, &inside{look: l, x: x, readable: true})
	case streams[t]:
		err = l.Taking(memoryOf(t, x.file), func() error { return l.run(stream.Walk, x.file, &inside{look: l, x: x, stream: true}) })
	case t == "message/rfc822" || x.isMessage():
		err = l.openMessage(x)
	case walk != nil:
		err = l.Taking(memoryOf(t, x.file), func() error { return l.walk(x, walk, x.file, false) })
	case t == "" || strings.HasPrefix(t, "application/"):
		err = l.openOther(x)
	}
	if err != nil {
		return err
	}
	if x.part != nil || isText(t) {
		// A part is searched as text whatever it is: some readers take files out of all that they find.
		if err := l.openText(x); err != nil {
			return err
		}
	}
	if x.body && isText(t) {
		return nil
	}
	return l.openHidden(x)
}

// memoryOf tells how many octets of memory it may take to look into a file of a type, where that is much. Of a zip archive it depends
// on the files in it: its reader asks for each.
func memoryOf(mediaType string, f *archive.File) int64 {
	switch mediaType {
	case "text/html", "application/xhtml+xml", "image/svg+xml", "application/xml":
		const copies = 10 // of a page: as it is, its texts, and what scripts and styles say without escapes and comments
		return copies * min(f.Size(), markup.MaxText)
	case "application/x-xz", "application/x-lzip", "application/x-lzma", "application/zstd", "application/x-7z-compressed", "application/vnd.rar":
		return codec.MaxDict
	case "application/x-bzip2":
		return codec.Bzip2Memory
	}
	return 0
}

// Taking implements archive.Memory: it does what takes so many octets of memory, beside what is taken already.
func (l *look) Taking(octets int64, do func() error) error {
	if octets <= 0 {
		return do()
	}
	l.taken += octets
	defer func() {
		l.taken -= octets
		_ = filter.Hold(l.ctx, l.taken) // gives back, and waits for nothing
	}()
	if err := filter.Hold(l.ctx, l.taken); err != nil {
		return err
	}
	return do()
}

// Aside implements archive.Memory.
func (l *look) Aside(do func()) { filter.Aside(l.ctx, do) }

// isText reports whether a file of that type is searched as a text.
func isText(t string) bool {
	switch t {
	case "", "application/xml", "application/xhtml+xml", "image/svg+xml", "application/mac-binhex40", "application/x-yencoded",
		"application/x-sylk", "message/rfc822":
		return true
	}
	return strings.HasPrefix(t, "text/")
}

// openZip looks into a zip file, or a document that is one.
func (l *look) openZip(x *exam) error {
	r, err := zip.Open(l.ctx, x.file, l.budget)
	if err != nil {
		return err
	}
	walk := zip.Walk
	if office.IsPackage(r) {
		walk = func(ctx context.Context, _ *archive.File, b *archive.Budget, v archive.Visitor) error {
			return office.WalkPackage(ctx, r, b, v)
		}
	}
	return l.walk(x, walk, x.file, false)
}

// openOther looks into what detect knows no type of that has a reader; and says of a container of a kind that is not
// known that nobody has looked into it.
func (l *look) openOther(x *exam) error {
	head, err := x.file.Head(headSize)
	if err != nil {
		return err
	}
	switch {
	case office.IsBIFF(head):
		return l.walk(x, office.WalkBIFF, x.file, false)
	case office.IsActiveMime(head):
		return l.walk(x, office.WalkActiveMime, x.file, false)
	case rtf.Is(head):
		return l.walk(x, rtf.Walk, x.file, false)
	case x.mayBeSealed(head) && (envelope.IsCMS(head) || envelope.IsPGP(head)), envelope.IsApple(head):
		return l.walk(x, envelope.Walk, x.file, false)
	case sheet.Is(head[:min(len(head), 1<<10)]):
		return l.walk(x, sheet.Walk, x.file, false)
	case foreign.Is(head):
		return l.walk(x, foreign.Walk, x.file, false)
	}
	return nil
}

// mayBeSealed reports whether it is worth to look closer whether a file is CMS or OpenPGP, in whatever armour.
func (x *exam) mayBeSealed(head []byte) bool {
	return len(head) > 0 && (head[0] == 0x30 || head[0] >= 0x80) || bytes.Contains(head, []byte("-----BEGIN")) ||
		x.declares("application/pkcs7-mime", "application/x-pkcs7-mime", "application/pkcs7-signature", "application/x-pkcs7-signature",
			"application/pgp-encrypted", "application/pgp-signature", "application/pgp") ||
		x.endsIn("p7m", "p7s", "p7c", "p7z", "asc", "pgp", "gpg")
}

// zipTail is how far from its end a file has the end record of a zip archive: it has 22 octets, and a comment of at
// most 64 KiB behind it (APPNOTE 4.3.16).
const zipTail = 64<<10 + 22

// openHidden looks for a zip archive in something else: readers of such archives begin at the end of a file, and
// some look for the beginnings of files anywhere. A container that was looked into may hold an archive as it is, and
// one is then no more than a file in it; what can't be read of it, no reader can.
func (l *look) openHidden(x *exam) error {
	head, err := x.file.Head(512)
	if err != nil {
		return err
	}
	if at(head, 257, "ustar") && x.kind.mediaType != "application/x-tar" {
		if err := l.walk(x, tar.Walk, x.file, false); err != nil {
			return err
		}
	}
	found, err := zip.Find(l.ctx, x.file)
	if err != nil || !found {
		return err
	}
	return l.openHiddenZip(x)
}

func (l *look) openHiddenZip(x *exam) error {
	tail, err := x.file.Section(x.file.Size()-zipTail, zipTail).Head(zipTail)
	if err != nil {
		return err
	}
	whole := bytes.Contains(tail, []byte("PK\x05\x06")) && !l.opened(x.kind.mediaType)
	return l.run(zip.Walk, x.file, &inside{look: l, x: x, readable: !whole})
}

// opened reports whether files of a media type are looked into as containers.
func (l *look) opened(mediaType string) bool {
	return walks[mediaType] != nil || mediaType == "application/x-ole-storage" || mediaType == "application/ms-tnef" ||
		streams[mediaType] || mediaType == "message/rfc822"
}

// openText looks for files that lie in a text, and for what a text is beside that: HTML, a table.
func (l *look) openText(x *exam) error {
	f, err := l.unfolded(x)
	if err != nil {
		return err
	}
	if err := l.walk(x, textWalk, f, true); err != nil {
		return err
	}
	if err := l.openEntities(x, x.file); err != nil {
		return err
	}
	if err := l.openQuotedPrintable(x); err != nil {
		return err
	}
	if x.body {
		if x.declares("text/html", ampHTML) {
			return l.Taking(memoryOf("text/html", x.file), func() error {
				if err := l.walk(x, markup.WalkBody, x.file, true); err != nil {
					return err
				}
				return l.openRuns(x)
			})
		}
		return nil
	}
	switch {
	case x.endsIn("csv", "tsv", "tab"), x.declares("text/csv"):
		return l.walk(x, sheet.Walk, x.file, false)
	case x.kind.mediaType == "" && (x.declares("text/html") || x.endsIn("htm", "html", "shtml", "xhtml", "mht", "mhtml", "svg")):
		return l.Taking(memoryOf("text/html", x.file), func() error { return l.walk(x, markup.Walk, x.file, false) })
	case x.kind.mediaType == "application/xml":
		return l.walk(x, office.WalkXML, x.file, false)
	}
	return nil
}

// unfoldLimit is how large a calendar or card is that is unfolded; it is kept in memory.
const unfoldLimit = 8 << 20

// unfolded gives a text without the folds of calendars and cards (RFC 5545 3.1, RFC 6350 3.2), which may stand in the
// middle of an attachment.
func (l *look) unfolded(x *exam) (*archive.File, error) {
	if !x.declares("text/calendar", "text/vcard", "text/x-vcard", "text/directory", "application/ics") &&
		x.kind.mediaType != "text/calendar" && x.kind.mediaType != "text/vcard" && !x.endsIn("ics", "vcf") {
		return x.file, nil
	}
	b, ok, err := x.file.Bytes(unfoldLimit)
	if err != nil {
		return nil, err
	}
	if !ok {
		x.addInner(l.classHit(unreadable, "a calendar or card that is too large to be searched"))
		return x.file, nil
	}
	for _, fold := range []string{"\r\n ", "\r\n\t", "\n ", "\n\t"} {
		b = bytes.ReplaceAll(b, []byte(fold), nil)
	}
	// A value stands on a line of its own, to be found.
	b = bytes.ReplaceAll(b, []byte(":"), []byte(":\r\n"))
	return archive.NewFile(b), nil
}
