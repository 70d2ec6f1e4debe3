package attachments

import (
	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/offcrypto"
	"github.com/postern-mail/postern/internal/archive/office"
	"github.com/postern-mail/postern/internal/archive/ole"
)

// openOLE looks into a compound file: a document, a message of Outlook, or an encrypted document, of which the ones
// that Office opens without asking are looked into as well.
func (l *look) openOLE(x *exam) error {
	root, _, err := ole.Open(l.ctx, x.file)
	if err != nil {
		return err
	}
	if root == nil {
		return l.walk(x, office.Walk, x.file, false)
	}
	info, body := root.Stream("EncryptionInfo"), root.Stream("EncryptedPackage")
	if info != nil && body != nil {
		return l.openPackage(x, info, body)
	}
	return l.walk(x, office.Walk, x.file, false)
}

// maxEncryptionInfo is how many octets of an EncryptionInfo stream are read.
const maxEncryptionInfo = 1 << 20

// openPackage looks into an encrypted document of OOXML.
func (l *look) openPackage(x *exam, info, body *ole.Stream) error {
	i, problem := info.File()
	b, problem2 := body.File()
	if problem != nil || problem2 != nil {
		return l.walk(x, office.Walk, x.file, false)
	}
	octets, _, err := i.Bytes(maxEncryptionInfo)
	if err != nil {
		return err
	}
	plain, sign, err := offcrypto.Package(l.ctx, octets, b, l.budget)
	if err != nil {
		return err
	}
	if plain == nil {
		if sign == nil {
			sign = &archive.Sign{Kind: archive.Encrypted, Why: "the document is encrypted"}
		}
		x.addInner(l.classHit(class(sign.Kind), sign.Why))
		return nil
	}
	defer func() { _ = plain.Close() }()
	if sign != nil {
		x.addInner(l.classHit(class(sign.Kind), sign.Why))
	}
	v := &inside{look: l, x: x}
	return v.File(&archive.Entry{File: plain, Size: plain.Size()})
}
