package attachments

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
)

// windowsProgram makes the first octets of a Windows program that does nothing, with its PE header at
// the given offset.
func windowsProgram(at int) string {
	b := make([]byte, at+0x100)
	copy(b, "MZ")
	binary.LittleEndian.PutUint32(b[0x3c:], uint32(at))
	copy(b[at:], "PE\x00\x00")
	return string(b)
}

// compoundFile makes a compound file whose root entry has a class identifier.
func compoundFile(sector uint32, id string) string {
	b := make([]byte, (sector+2)*512)
	copy(b, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	binary.LittleEndian.PutUint16(b[0x1e:], 9)
	binary.LittleEndian.PutUint32(b[0x30:], sector)
	copy(b[(sector+1)*512+0x50:], id)
	return string(b)
}

func utf16LE(s string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

func TestDetect(t *testing.T) {
	const installer = "\x84\x10\x0c\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46"
	tests := []struct {
		name, head       string
		attachment, body class
	}{
		{"empty", "", "", ""},
		{"one octet", "M", "", ""},
		{"text", "Dear all,\r\n", "", ""},
		{"MZ and text", "MZ harmless marker", executable, ""},
		{"MZ and NUL", "MZ\x90\x00\x03\x00", executable, executable},
		{"PE", windowsProgram(0x80), executable, executable},
		{"PE far away", windowsProgram(0x4000), executable, executable},
		{"ZM and PE", "ZM" + windowsProgram(0x80)[2:], executable, executable},
		{"ZM and text", "ZM radio", "", ""},
		{"PE offset beyond the end", "MZ" + strings.Repeat("\xff", 0x60), executable, ""},
		{"ELF", "\x7fELF\x02\x01\x01\x00", executable, executable},
		{"Mach-O", "\xcf\xfa\xed\xfe\x07\x00\x00\x01", executable, executable},
		{"Mach-O, big-endian", "\xfe\xed\xfa\xce\x00\x00\x00\x12", executable, executable},
		{"fat Mach-O", "\xca\xfe\xba\xbe\x00\x00\x00\x02", executable, executable},
		{"Java class", "\xca\xfe\xba\xbe\x00\x00\x00\x3d", executable, executable},
		{"CAFEBABE and nothing", "\xca\xfe\xba\xbe", "", ""},
		{"CAFEBABE and text", "\xca\xfe\xba\xbetext text", "", ""},
		{"Android", "dex\n035\x00", executable, executable},
		{"Debian package", "!<arch>\ndebian-binary   1342943816  0     0     100644  4         `\n2.0\n", executable, ""},
		{"static library", "!<arch>\nmain.o/         ", "", ""},
		{"EICAR", `X5O!P%@AP[4\PZX54(P^)` + " and so on", executable, ""},
		{"Windows Installer", compoundFile(1, installer), executable, ""},
		{"Windows Installer, patch", compoundFile(3, "\x86"+installer[1:]), executable, ""},
		{"Windows Installer, directory out of sight", compoundFile(1000, installer)[:headSize], "", ""},
		{"compound file", compoundFile(1, strings.Repeat("\x06", 16)), "", ""},
		{"compound file, cut", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "", ""},
		{"compound file, odd shift", compoundFile(1, installer)[:0x1e] + "\xff\xff" + compoundFile(1, installer)[0x20:], "", ""},
		{"shortcut", shellLink + "\x9b\x00\x08\x00", shortcut, ""},
		{"L and NULs", "\x4c\x00\x00\x00text", "", ""},
		{"encoded script", "#@~^XAAAAA==", script, ""},
		{"compiled help", "ITSF\x03\x00\x00\x00\x60\x00\x00\x00", script, ""},
		{"shebang", "#!/bin/sh\necho\n", script, ""},
		{"shebang with a blank", "#! /usr/bin/env python3\n", script, ""},
		{"shebang after a byte order mark", "\xef\xbb\xbf#!/bin/sh\n", script, ""},
		{"Rust attribute", "#![no_std]\nfn main() {}\n", "", ""},
		{"Scheme", "#!r6rs\n", "", ""},
		{"command file", "@ECHO OFF\r\ndir\r\n", script, ""},
		{"command file, blank lines", "\r\n\r\n  @echo off\r\n", script, ""},
		{"command file, UTF-16", utf16LE("@echo off\r\n"), script, ""},
		{"echo in prose", "Use @echo off at the top.\r\n", "", ""},
		{"registry", "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_CURRENT_USER\\a]\r\n", script, ""},
		{"registry, UTF-16", utf16LE("Windows Registry Editor Version 5.00\r\n"), script, ""},
		{"old registry", "REGEDIT4\r\n", script, ""},
		{"HTML application", "<html><head>\n<HTA:APPLICATION id=a></head>", script, ""},
		{"HTML", "<!DOCTYPE html><html><script>1</script></html>", "", ""},
		{"script file", "<?xml version='1.0'?>\n<!-- a > b -->\n<package><job id='a'><script language='JScript'></script></job></package>", script, ""},
		{"XML package", "<?xml version='1.0'?><package><name>a</name></package>", "", ""},
		{"scriptlet", "<?XML version='1.0'?>\n<scriptlet><registration/><script>1</script></scriptlet>", script, ""},
		{"endless comment", "<!-- <package><script>", "", ""},
		{"Internet shortcut", "[InternetShortcut]\r\nURL=https://example.org/\r\n", shortcut, ""},
		{"Internet shortcut, wide", "[InternetShortcut.W]\r\nURL=x\r\n", shortcut, ""},
		{"Internet shortcut, later section", "; by hand\r\n[{000214A0-0000-0000-C000-000000000046}]\r\nProp3=19,11\r\n[InternetShortcut]\r\nURL=file://h/s\r\n", shortcut, ""},
		{"desktop entry", "# a comment\n\n[Desktop Entry]\nExec=true\n", shortcut, ""},
		{"shell command file", "[Shell]\r\nCommand=2\r\nIconFile=\\\\h\\s\\a.ico\r\n", shortcut, ""},
		{"INI", "[section]\r\nkey=value\r\n", "", ""},
		{"prose about shortcuts", "[1] A note\r\nfiles with\r\n[InternetShortcut]\r\nin them\r\n", "", ""},
		{"settings", "<?xml version=\"1.0\"?><PCSettings><SearchableContent><ApplicationInformation><DeepLink>a</DeepLink></ApplicationInformation></SearchableContent></PCSettings>", shortcut, ""},
		{"library", "<?xml version=\"1.0\"?>\n<libraryDescription xmlns=\"http://schemas.microsoft.com/windows/2009/library\">", shortcut, ""},
		{"Web Start", "<?xml version=\"1.0\"?><jnlp spec=\"1.0+\">", shortcut, ""},
		{"patch", "diff --git a/a.sh b/a.sh\n--- a/a.sh\n+++ b/a.sh\n@@ -0,0 +1 @@\n+#!/bin/sh\n", "", ""},
		{"C source", "#include <stdio.h>\nint main(void) { return 0; }\n", "", ""},
		{"JavaScript source", "'use strict';\nconst fs = require('fs');\n", "", ""},
		{"Visual Basic source", "Set a = CreateObject(\"WScript.Shell\")\n", "", ""},
		{"JSON", `{"a": [1, 2]}`, "", ""},
		{"JSON array", `["a"]`, "", ""},
		{"calendar", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n", "", ""},
		{"PGP", "-----BEGIN PGP MESSAGE-----\r\n", "", ""},
		{"S/MIME", "\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02", "", ""},
		{"TNEF", "\x78\x9f\x3e\x22\x01\x00", "", ""},
		{"PDF", "%PDF-1.7\n", "", ""},
		{"ZIP", "PK\x03\x04\x14\x00", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if k := detect([]byte(tt.head), false); k.class != tt.attachment || (k.class != "") != (k.what != "") {
				t.Errorf("as attachment: %+v, want %q", k, tt.attachment)
			}
			if k := detect([]byte(tt.head), true); k.class != tt.body {
				t.Errorf("as text body: %+v, want %q", k, tt.body)
			}
		})
	}
}

// FuzzDetect: no input makes detection fail, more octets behind the head change nothing, and a text body
// is never a script or a shortcut.
func FuzzDetect(f *testing.F) {
	for _, s := range []string{
		"MZ", "\x7fELF", shellLink, "#!/bin/sh", "<?xml?><!--", "[a]\n[internetshortcut]", utf16LE("@echo off"),
		compoundFile(1, "\x84\x10"), "\xca\xfe\xba\xbe\x00\x00\x00\x02", windowsProgram(0x80),
		"\x00\x00MZ", oldTar(), placed(0x8001, "CD001"), placed(446, "\x80\x01\x01\x00\x07", 510, "\x55\xaa"), "\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07",
		"\x85\x01\x0c\x03\x01\x02\x03\x04\x05\x06\x07\x08\x01\x08\x00\xff", "\xc3\x0d\x04\x09\x03\x02\x01\x02\x03\x04\x05\x06\x07\x08\xff\xd2",
		"\x5d\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01", "\x55\x0d\r\n", "x%PDF-1.7\n1 0 obj", "\xff\xfe\x00\x00#\x00\x00\x00",
		"Dim s\nSet s = CreateObject(\"WScript.Shell\")\ns.Run", "/*x*/var a = new ActiveXObject('WScript.Shell')", "<#x#>param([string]$a)",
		"rem x\r\n::y\r\n:z\r\nset a=%~dp0\r\npause", "<!doctype svg [<!entity a 'b>'>]><svg/>", "full address:s:x", "From a\nDate: x\nFrom: y\n",
		"[version]\nsignature=\"$x\"", "WEB\n1\nhttp:", "bplist00\xd1\x01\x02SURL",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		before := bytes.Clone(head)
		k := detect(head, false)
		if (k.class != "") != (k.what != "") || k.class != "" && k.mediaType == "" {
			t.Fatalf("%+v", k)
		}
		b := detect(head, true)
		if b.class != "" && b.class != executable || len(b.what) > 0 != (b.class != "") {
			t.Fatalf("text body: %+v", b)
		}
		if b.class != "" && k.class != b.class {
			t.Fatalf("a text body is %+v, the same as attachment %+v", b, k)
		}
		if !bytes.Equal(before, head) {
			t.Fatal("the head was changed")
		}
	})
}
