package attachments

import (
	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/offcrypto"
	"github.com/postern-mail/postern/internal/archive/office"
	"github.com/postern-mail/postern/internal/archive/ole"
	"github.com/postern-mail/postern/internal/archive/outlook"
)

// openOLE looks into a compound file: a document, an installer or a message of Outlook. Documents that are encrypted
// with a password which Office tries without asking are to their readers as open as any other, and looked into.
func (l *look) openOLE(x *exam) error {
	root, _, err := ole.Open(l.ctx, x.file)
	if err != nil {
		return err
	}
	if root == nil {
		return l.walk(x, office.Walk, x.file, false)
	}
	if isInstaller(root.CLSID[:]) {
		x.addInner(l.classHit(executable, "it is a Windows Installer package"))
	}
	if outlook.Is(root) {
		return l.run(outlook.Walk, x.file, &inside{look: l, x: x, bodies: true})
	}
	opened, err := l.openEncrypted(x, root)
	if err != nil {
		return err
	}
	return l.run(office.Walk, x.file, &inside{look: l, x: x, opened: opened})
}

// maxEncryptionInfo is how many octets of an EncryptionInfo stream are read.
const maxEncryptionInfo = 1 << 20

// openEncrypted looks into what is encrypted with a password of Office's own, and reports whether it did.
func (l *look) openEncrypted(x *exam, root *ole.Storage) (opened bool, err error) {
	info, body := root.Stream(offcrypto.InfoStream), root.Stream(offcrypto.PackageStream)
	if info != nil && body != nil {
		i, problem := info.File()
		b, problem2 := body.File()
		if problem == nil && problem2 == nil {
			octets, _, err := i.Bytes(maxEncryptionInfo)
			if err != nil {
				return false, err
			}
			plain, sign, err := offcrypto.Package(l.ctx, octets, b, l.budget)
			if opened, err = l.openPlain(x, plain, sign, err); opened || err != nil {
				return opened, err
			}
		}
	}
	for _, name := range []string{"Workbook", "Book"} {
		s := root.Stream(name)
		if s == nil {
			continue
		}
		f, problem := s.File()
		if problem != nil || f == nil {
			continue
		}
		plain, sign, err := offcrypto.Workbook(l.ctx, f, l.budget)
		if opened, err = l.openPlain(x, plain, sign, err); opened || err != nil {
			return opened, err
		}
	}
	return false, nil
}

// openPlain looks into what was decrypted.
func (l *look) openPlain(x *exam, plain *archive.File, sign *archive.Sign, err error) (opened bool, _ error) {
	if err != nil || plain == nil {
		return false, err
	}
	defer func() { _ = plain.Close() }()
	if sign != nil {
		x.addInner(l.classHit(class(sign.Kind), sign.Why))
	}
	v := &inside{look: l, x: x}
	return true, v.File(&archive.Entry{File: plain, Size: plain.Size()})
}
