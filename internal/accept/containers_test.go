//go:build accept

package accept

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/peertest"
)

// expectation says what files of the suites are; the first that matches counts.
type expectation struct {
	pattern string // for path.Match, below suites/attachments; folders of a suite are matched by their last part
	class   string // as in the symbols, or several of them with | between; "clean" is nothing at all
}

// expectations are of what the files are known to hold, by the suites' own tests and by other programs. What is not
// listed is clean.
var expectations = []expectation{
	// Macros that start, fields and cells that start programs, links that load; encrypted by Excel's own password, which
	// is none, and by real ones.
	{"oletools/encrypted/autostart-*", "MACRO_AUTO"},
	{"oletools/encrypted/dde-*", "MACRO_AUTO"},
	{"oletools/encrypted/encrypted.*", "ENCRYPTED"},
	{"oletools/basic/encrypted.*", "ENCRYPTED"},
	{"oletools/excel4-macros/*", "MACRO_AUTO"},
	{"oletools/msodde/dde-in-csv.csv", "MACRO_AUTO"},
	{"oletools/msodde/dde-test.*", "MACRO_AUTO"},
	{"oletools/msodde/*.zip", "ENCRYPTED"},
	{"oletools/external_link/*", "MACRO_AUTO"},
	{"oletools/oleobj/sample_with_calc_*", "EXECUTABLE"},
	{"oletools/oleobj/sample_with_lnk_*", "SHORTCUT"},

	{"generated/bombs/42.zip", "ENCRYPTED"},
	{"generated/bombs/*", "BOMB"},
	{"generated/eicar/*", "EXECUTABLE"},
	{"generated/nested/eicar-nested-10.zip", "BOMB"},
	{"generated/nested/*", "EXECUTABLE"},
	{"generated/names/rtlo.zip", "EXECUTABLE"},
	{"generated/mime-deep/multipart-depth-10.eml", "EXECUTABLE"},
	{"generated/mime-deep/multipart-depth-*", "UNREADABLE|EXECUTABLE"},
	{"generated/mime-deep/parts-20000.eml", "UNREADABLE|BOMB"},

	{"tika-docs/*_macro.*", "MACRO"},
	{"tika-docs/full_encrypted.7z", "ENCRYPTED"},
	{"tika-docs/*protected_passtika*", "ENCRYPTED"},
	{"tika-docs/*PwdProtected.pages", "ENCRYPTED|UNREADABLE"},
	{"tika-docs/*[eE]ncrypted*", "ENCRYPTED"},
	{"tika-docs/testPKCS7_enveloped_*", "SEALED"},
	{"tika-docs/testZip_with_DataDescriptor.zip", "UNREADABLE"}, // entries that its directory does not have
	{"tika-docs/testZip_with_DataDescriptor2.zip", "ENCRYPTED"}, // an encrypted EPUB
	{"tika-docs/test-documents-spanned.*", "UNREADABLE"},        // a part of a set of volumes
	{"tika-docs/droste.zip", "BOMB"},
	{"tika-docs/quine.gz", "BOMB"},

	{"corkami-minimal-types/arj.arj", "UNREADABLE"},
	{"corkami-minimal-types/*.xar", "UNREADABLE"},
	{"corkami-minimal-types/iso.iso", "DISK_IMAGE"},
	{"corkami-minimal-types/java.class", "EXECUTABLE"},
	{"corkami-minimal-types/html.htm", "ACTIVE_HTML"},

	{"corkami-zip/aes.zip", "ENCRYPTED"},
	{"corkami-zip/zipcrypto.zip", "ENCRYPTED"},
	{"corkami-zip/PPMd.zip", "UNREADABLE"},
	{"corkami-zip/implode*.zip", "UNREADABLE"},
	{"corkami-zip/reduced?.zip", "UNREADABLE"},
	{"corkami-zip/shrunk.zip", "UNREADABLE"},
	{"corkami-zip/jpeg.zip", "UNREADABLE"},
	{"corkami-zip/wavpack.zip", "UNREADABLE"},
	{"corkami-zip/corkami.zip", "UNREADABLE"}, // names that disagree
	{"corkami-zip/volume.zip.00?", "UNREADABLE"},
	{"corkami-zip/gynvael/*", "BOMB|EXECUTABLE"},

	{"zip-rs/ppmd.zip", "UNREADABLE"},
	{"zip-rs/legacy/*.zip", "UNREADABLE"},
	{"zip-rs/deflate64_issue_25.zip", "UNREADABLE"}, // cut off
	{"zip-rs/raw_deflate64_*", "UNREADABLE"},        // one part of a set of volumes
	{"zip-rs/zip64_magic_*", "UNREADABLE|clean"},    // names that look like the end of a directory

	{"sevenzip/t5.7z", "ENCRYPTED"},
	{"sevenzip/multi.7z.00?", "UNREADABLE"},

	{"go-zip-tar/testdata/gnu-incremental.tar", "BOMB"}, // mostly holes: more than is unpacked for each octet
	{"go-zip-tar/testdata/*-sparse-big.tar*", "BOMB"},
	{"go-zip-tar/testdata/gnu-sparse-many-zeros*", "BOMB"},
	{"go-zip-tar/testdata/hdr-only.tar", "UNREADABLE|clean"}, // a folder with a size
	{"go-zip-tar/testdata/issue11169.tar", "UNREADABLE"},
	{"go-zip-tar/testdata/neg-size.tar*", "UNREADABLE"},
	{"go-zip-tar/testdata/pax-bad-hdr-*", "UNREADABLE"},
	{"go-zip-tar/testdata/pax-nul-path.tar", "UNREADABLE"},
	{"go-zip-tar/testdata/pax-path-hdr.tar", "UNREADABLE"},
	{"go-zip-tar/testdata/pax-pos-size-file.tar", "UNREADABLE"},
	{"go-zip-tar/testdata/writer-big*", "UNREADABLE"},
	{"go-zip-tar/testdata/comment-truncated.zip", "UNREADABLE"},
	{"go-zip-tar/testdata/readme.notzip", "UNREADABLE|clean"}, // a zip file without a directory, of a text
	{"go-zip-tar/testdata/test-badbase.zip", "UNREADABLE"},

	{"libarchive/*encrypt*", "ENCRYPTED"},
	{"libarchive/*_aes*", "ENCRYPTED"},
	{"libarchive/*_lha_*", "UNREADABLE"},
	{"libarchive/*_lzop_*", "UNREADABLE"},
	{"libarchive/*_cab_multi*", "UNREADABLE"},
	{"libarchive/*_cab_skip_malformed*", "UNREADABLE"},
	{"libarchive/*_7zip_malformed[24]*", "UNREADABLE"},
	{"libarchive/*_7zip_malformed3*", "EXECUTABLE"}, // its bytes are an ELF program
	{"libarchive/*_7zip_folders_oom*", "BOMB|UNREADABLE"},
	{"libarchive/*_7zip_lzma2_riscv*", "UNREADABLE|EXECUTABLE"},
	{"libarchive/*_7zip_bcj*", "EXECUTABLE"},
	{"libarchive/*_arm.*", "EXECUTABLE"},
	{"libarchive/*_arm64.*", "EXECUTABLE"},
	{"libarchive/*_powerpc.*", "EXECUTABLE"},
	{"libarchive/*_zstd_nobcj.*", "EXECUTABLE"},
	{"libarchive/*sfx*", "EXECUTABLE"},
	{"libarchive/test_compat_zip_1.*", "EXECUTABLE"}, // a Java class
	{"libarchive/*_zip_jar.*", "EXECUTABLE"},
	{"libarchive/*_zip_7z_deflate.*", "EXECUTABLE"}, // a shared library
	{"libarchive/*_zip_comment_stored_2.*", "SCRIPT"},
	{"libarchive/*_rar5_stored_manyfiles.*", "SCRIPT"},
	{"libarchive/*_rar5_extra_field_version.*", "SCRIPT"},
	{"libarchive/*_rar_windows.*", "SHORTCUT"},
	{"libarchive/*_iso_*zf_overflow.*", "UNREADABLE"},
	{"libarchive/*_iso_zisofs_overflow.*", "UNREADABLE"},
	{"libarchive/*_iso*", "DISK_IMAGE"},
	{"libarchive/*_zip_ppmd8_crash_*", "UNREADABLE"},
	{"libarchive/*_zip_size_exceeds_*", "UNREADABLE"},
	{"libarchive/*_zip_zipx_lzma_oom.*", "UNREADABLE"},
	{"libarchive/*_compat_tar_directory_1.*", "UNREADABLE|clean"}, // a folder with a size
	{"libarchive/*_rar_endarc_huge.*", "UNREADABLE"},
	{"libarchive/*_rar_newsub_huge.*", "UNREADABLE"},
	{"libarchive/*_rar_overflow.*", "UNREADABLE"},
	{"libarchive/*_rar_ppmd_use_after_free2.*", "UNREADABLE"},
	{"libarchive/*_rar_seek_data_cursor0.*", "UNREADABLE"},
	{"libarchive/*_filter_on_window_boundary.*", "UNREADABLE"},
	{"libarchive/*_rar5_bytes_remaining_underflow.*", "UNREADABLE"},
	{"libarchive/*_rar5_data_ready_pointer_leak.*", "UNREADABLE"},
	{"libarchive/*_rar5_decode_number_*", "UNREADABLE"},
	{"libarchive/*_rar5_different_*", "UNREADABLE"},
	{"libarchive/*_rar5_invalid_*", "UNREADABLE"},
	{"libarchive/*_rar5_nonempty_dir_stream.*", "UNREADABLE"},
	{"libarchive/*_rar5_owner_name_toolong.*", "UNREADABLE"},
	{"libarchive/*_rar5_unsupported_exfld.*", "UNREADABLE"},
	{"libarchive/*_rar5_window_buf_*", "UNREADABLE"},

	{"tnef-tnefparse/data-before-name.tnef", "SCRIPT"},       // AUTOEXEC.BAT
	{"tnef-tnefparse/MAPI_OBJECT.tnef", "EXECUTABLE"},        // a file named .dll
	{"tnef-tnefparse/IPM-DistList.tnef", "UNREADABLE"},       // wrong checksums
	{"tnef-tnefparse/duplicate_filename.tnef", "UNREADABLE"}, // wrong checksums
}

// expected gives the classes that a file may have.
func expected(name string) []string {
	parts := strings.Split(name, "/")
	short := path.Join(parts[0], path.Join(parts[max(1, len(parts)-2):]...))
	for _, e := range expectations {
		if ok, err := path.Match(e.pattern, short); err == nil && ok {
			return strings.Split(e.class, "|")
		}
	}
	return []string{"clean"}
}

// classOf gives the class of the first finding about a part, as in its symbol.
func classOf(res filter.Result) string {
	for _, f := range res.Findings {
		if c, ok := strings.CutPrefix(f.Symbol, "ATTACHMENT_"); ok && c != "REMOVED" {
			return c
		}
	}
	return "clean"
}

// unwrapped gives a file of a suite without the encoding in which the suite keeps it.
func unwrapped(t *testing.T, m message) (message, bool) {
	t.Helper()
	base, ok := strings.CutSuffix(m.name, ".base64")
	if ok {
		return message{base, func() ([]byte, error) {
			b, err := m.read()
			if err != nil {
				return nil, err
			}
			return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(b)), ""))
		}}, true
	}
	base, ok = strings.CutSuffix(m.name, ".uu")
	if !ok {
		return m, false
	}
	return message{base, func() ([]byte, error) {
		b, err := m.read()
		if err != nil {
			return nil, err
		}
		return uudecode(b)
	}}, true
}

// uudecode decodes what uuencode wrote.
func uudecode(b []byte) ([]byte, error) {
	var out []byte
	begun := false
	for line := range bytes.Lines(b) {
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case bytes.HasPrefix(line, []byte("begin ")):
			begun = true
		case !begun || len(line) == 0:
		case string(line) == "end":
			return out, nil
		default:
			n := int(line[0]-' ') & 63
			var group []byte
			for i := 1; i+3 < len(line) && len(group) < n; i += 4 {
				v := uint32(0)
				for _, c := range line[i : i+4] {
					v = v<<6 | uint32(c-' ')&63
				}
				group = append(group, byte(v>>16), byte(v>>8), byte(v))
			}
			out = append(out, group[:min(n, len(group))]...)
		}
	}
	return nil, fmt.Errorf("uuencoded text without an end")
}

// The suites of attachments: each file is what it is known to be.
func TestAttachmentSuites(t *testing.T) {
	f := attachmentsFilter(t, "classes: {sealed: tag}")
	rest := regexp.MustCompile(`/(SOURCE|README\.md|LICENSE[^/]*)$`)
	type counts struct {
		files   int
		fates   map[string]int
		classes map[string]int
	}
	suites := map[string]*counts{}
	check := func(m message, name string, loose bool) {
		raw, err := wrapped([]message{m})[0].read()
		if err != nil {
			t.Fatal(err)
		}
		res, err := judge(t, f, raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		class, want := classOf(res.Result), expected(name)
		if loose && slices.Contains(want, "UNREADABLE") {
			want = append(want, "clean") // base64 without a name is no file to anybody, if there is none in it
		}
		if !slices.Contains(want, class) {
			t.Errorf("%s as %s: %s, not %s: %v", name, path.Base(m.name), class, strings.Join(want, " or "), res.Findings)
		}
		n := suites[strings.Split(name, "/")[0]]
		n.files++
		n.classes[class]++
		what := fate(res)
		if what == "untouched" && class != "clean" {
			what = "tagged"
		}
		n.fates[what]++
	}
	for _, m := range folder(t, "attachments") {
		if rest.MatchString(m.name) {
			continue
		}
		name := strings.TrimPrefix(m.name, "attachments/")
		suite, _, _ := strings.Cut(name, "/")
		if suites[suite] == nil {
			suites[suite] = &counts{fates: map[string]int{}, classes: map[string]int{}}
		}
		inner, encoded := unwrapped(t, m)
		check(inner, name, false)
		if encoded {
			check(m, name, strings.HasSuffix(name, ".base64")) // in its encoding it is the same
		}
	}
	var rows [][]string
	for _, s := range slices.Sorted(maps.Keys(suites)) {
		n := suites[s]
		var classes []string
		for _, c := range slices.Sorted(maps.Keys(n.classes)) {
			if c != "clean" {
				classes = append(classes, fmt.Sprintf("%s %d", strings.ToLower(c), n.classes[c]))
			}
		}
		r := []string{s, fmt.Sprint(n.files)}
		for _, what := range []string{"stripped", "held", "tagged", "untouched"} {
			r = append(r, fmt.Sprint(n.fates[what]))
		}
		rows = append(rows, append(r, strings.Join(classes, ", ")))
		t.Log(strings.Join(rows[len(rows)-1], " | "))
	}
	table(t, "The suites of attachments, each file attached to a message (those in base64 or uuencoded twice: so, and decoded)",
		"go test -tags accept -run TestAttachmentSuites ./internal/accept",
		[]string{"suite", "files", "removed", "held or refused", "tagged", "clean", "classes"}, rows)
}

// debianPackage gives the folder of a Debian package's files: those that are installed, else unpacked below .cache.
func debianPackage(t *testing.T, name, dir string) string {
	t.Helper()
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	cache := cacheDir(t, "debian", name)
	unpacked := filepath.Join(cache, dir)
	if _, err := os.Stat(unpacked); err == nil {
		return unpacked
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "apt-get download -q "+name+" && dpkg -x "+name+"_*.deb . && rm "+name+"_*.deb")
	cmd.Dir = cache
	if out, err := cmd.CombinedOutput(); err != nil {
		peertest.Missing(t, "POSTERN_PEERS", fmt.Sprintf("no Debian package %s: %v\n%s", name, err, out))
	}
	return unpacked
}

// clamContainers are the test files of ClamAV with the container from which its program is taken.
var clamContainers = map[string]string{
	"clam.7z": "7z", "clam.bin-be.cpio": "cpio", "clam.bin-le.cpio": "cpio", "clam.newc.cpio": "cpio", "clam.odc.cpio": "cpio",
	"clam.bz2.zip": "zip, bzip2", "clam.d64.zip": "zip, Deflate64", "clam.zip": "zip", "clam.cab": "cab", "clam.exe.binhex": "BinHex",
	"clam.exe.bz2": "bzip2", "clam.exe.html": "HTML, data:", "clam.exe.mbox.base64": "mail, base64", "clam.exe.mbox.uu": "mail, uuencode",
	"clam.mail": "mail", "clam.exe.rtf": "RTF", "clam.ole.doc": "Word", "clam.ppt": "PowerPoint", "clam.pdf": "PDF", "clam.tar.gz": "tar, gzip",
	"clam.tnef": "TNEF",
}

// clamClosed are those which are not looked into, and say so.
var clamClosed = map[string]string{
	"clam.arj": "ARJ", "clam.chm": "compiled help", "clam.exe.szdd": "COMPRESS.EXE", "clam.impl.zip": "zip, Implode", "clam.sis": "Symbian",
	"clam_cache_emax.tgz": "deeper than is looked",
}

// ClamAV's harmless program is found in every container that is opened, and none of the others is silently clean.
func TestClamAVFiles(t *testing.T) {
	dir := debianPackage(t, "clamav-testfiles", "/usr/share/clamav-testfiles")
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	f := attachmentsFilter(t, "")
	var rows [][]string
	for _, p := range files {
		name := filepath.Base(p)
		raw, err := wrapped([]message{file("x.bin", p)})[0].read() // no name helps
		if err != nil {
			t.Fatal(err)
		}
		res, err := judge(t, f, raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		class, detail := classOf(res.Result), ""
		if len(res.Findings) > 0 {
			detail = res.Findings[0].Detail
		}
		opened, closed := clamContainers[name], clamClosed[name]
		switch {
		case opened != "" && (!strings.Contains(detail, "inside it") || !strings.Contains(detail, "Windows program")):
			t.Errorf("%s: the program is not found inside: %s %s", name, class, detail)
		case closed != "" && class != "UNREADABLE" && class != "ENCRYPTED" && class != "BOMB":
			t.Errorf("%s: %s, which says nothing of what could not be looked at: %s", name, class, detail)
		case opened == "" && closed == "" && class != "EXECUTABLE" && class != "UNREADABLE" && class != "ENCRYPTED":
			t.Errorf("%s: %s %s", name, class, detail)
		}
		if fate(res) == "untouched" {
			t.Errorf("%s: delivered", name)
		}
		rows = append(rows, []string{name, opened + closed, fate(res), strings.ToLower(class), cell(detail)})
	}
	table(t, "ClamAV's test files, without their names", "go test -tags accept -run TestClamAVFiles ./internal/accept",
		[]string{"file", "container", "", "class", "finding"}, rows)
}
