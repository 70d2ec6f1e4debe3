package markup

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
)

// counter is a visitor that counts, and reads what it is given.
type counter struct {
	signs, files int
	octets       int64
}

func (c *counter) Sign(archive.Sign) error {
	c.signs++
	return nil
}

func (c *counter) File(e *archive.Entry) error {
	c.files++
	c.octets += e.File.Size()
	_, err := io.Copy(io.Discard, e.File.Reader())
	return err
}

// FuzzWalk walks anything: no error is the content's, and a body gives no sign of script and no content that the
// document does not.
func FuzzWalk(f *testing.F) {
	coded := base64.StdEncoding.EncodeToString([]byte(payload))
	for _, s := range []string{
		`<a href="data:application/zip;base64,` + coded + `" download="x.zip">x</a>`,
		`<script>var x = "` + coded[:60] + `" + "` + coded[60:] + `"; a.download = "x.zip"</script>`,
		`<script>var x = ["` + coded[:60] + `", "` + coded[60:] + `"].reverse(); y = [` + strings.Repeat("77, 0x90,", 40) + `]</script>`,
		`<script>x = unescape('` + strings.Repeat("%41%u4141", 20) + strings.Repeat(`\x41\u0041\101`, 20) + `')</script>`,
		`<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x "javascript:alert(1)">]><svg><a href="&x;"/><style/><set to="javascript:x"/></svg>`,
		`<!--[if gte IE 4]><iframe srcdoc="&lt;img src=x onerror=alert(1)&gt;"><![endif]-->`,
		`<div style="width:ex/**/pre\73 sion(alert(1));background:url(data:x/y;base64,AAAA)">`,
		`<meta http-equiv=refresh content="0;url='data:text/html,x'"><meta charset=utf-7>+ADw-script+AD4-`,
		string(utf16Of("\ufeff<script>alert(1)</script>", binary.BigEndian)),
		`<svg><title><math><script/>x</title></svg><object classid=x><embed type=flash>`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 20
		var all [2]counter
		for i, walk := range []archive.Walk{Walk, WalkBody} {
			budget := archive.NewBudget(archive.Limits{Octets: limit, Files: 100, Dir: t.TempDir()}, int64(len(in)))
			if err := walk(context.Background(), archive.NewFile(in), budget, &all[i]); err != nil {
				t.Fatal(err)
			}
			if c := all[i]; c.octets > limit || c.files > 100 || c.signs > tell.Most {
				t.Fatalf("%+v", c)
			}
		}
		if all[1].files > all[0].files && all[0].files < 100 || all[1].signs > 2 {
			t.Fatalf("%+v as a document, %+v as a body", all[0], all[1])
		}
		Detect(in)
	})
}
