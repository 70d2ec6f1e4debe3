package detection

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// Fields of others that a corpus's messages went through before they were gathered. They hold verdicts of filters, or
// marks of the mailbox from which they were taken: with them one would tell corpora apart, and not spam from mail. A
// gateway sees none of them, or takes them off; so all that is measured, of whoever's making, sees messages without. What
// Return-Path holds a gateway knows as the envelope, see StripAll.
var (
	strippedNames = nameSet(
		"Authentication-Results", "Authentication-Results-Original", "Received-SPF", "X-Received-SPF", "X-Original-Authentication-Results",
		"ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results",
		"X-Bogosity", "X-RC-Spam", "X-RC-Virus", "X-RC-FROM", "XLevel", "XStatus", "XChecker-Version", "X-AmavisStatus", "X-Amavis-Alert",
		"X-Policyd-Weight", "X-Virus-Scanned", "X-Virus-Status", "X-Greylist", "X-Spamd-Result", "X-Spamd-Bar", "X-Ham-Report",
		"X-Sender-IP", "X-SID-PRA", "X-SID-Result", "X-IncomingHeaderCount", "X-IncomingTopHeaderMarker", "X-Message-Info",
		"X-Message-Delivery", "X-Message-Status", "X-Auto-Response-Suppress", "X-ClientProxiedBy", "X-OriginatorOrg",
		"X-Store-Info", "X-Authentication-Info", "X-Reporting-Spam", "X-NAS-Classification", "X-NAS-Bayes",
		"Return-Path", "Delivered-To", "X-Delivered-To", "X-Original-To", "Old-Return-Path", "Envelope-To", "X-Envelope-To", "X-Envelope-From", "Delivery-Date",
		"Status", "X-Status", "X-UID", "X-UIDL", "X-Keywords", "X-IMAP", "X-IMAPbase", "X-Account-Key", "Content-Length", "Lines", "X-Gnus-Mail-Source",
		"Resent-From", "Resent-Date", "Resent-Sender", "Resent-Message-ID", "Resent-To",
		"X-Pyzor", "X-Razor", "X-DCC", "X-Antivirus", "X-Antivirus-Status", "X-Junkmail-Status", "X-PMX-Version",
	)
	strippedPrefixes = []string{
		"x-spam", "x-barracuda-", "x-asg-", "x-microsoft-antispam", "x-ms-exchange-", "x-ms-", "x-forefront-", "x-eop", "x-mozilla-",
		"x-mailscanner", "x-ironport-", "x-proofpoint-", "x-dspam-", "x-crm114-", "x-spambayes-", "x-rspamd-",
		"x-yahoofilteredbulk", "x-ymail", "x-mimecast-", "x-cloudmark-", "x-cmae-", "x-brightmail", "x-symantec-", "x-sophos",
		"x-dcc-", "x-pyzor-", "x-razor-", "x-exchange-antispam", "x-apparently-to", "x-ovh-", "x-vr-", "x-vade", "x-halon-", "x-spf-",
	}
)

func nameSet(names ...string) map[string]bool {
	set := map[string]bool{}
	for _, n := range names {
		set[strings.ToLower(n)] = true
	}
	return set
}

// Stripped reports whether Strip takes away fields of this name.
func Stripped(name string) bool {
	name = strings.ToLower(name)
	if strippedNames[name] {
		return true
	}
	for _, p := range strippedPrefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// tagged matches what others' filters put before the subject of what they took for spam, also in an encoded word of its own.
var tagged = regexp.MustCompile(`(?i)^(subject:)(?:[ \t]*(?:\[[^\]\r\n]{0,12}\bspam\b[^\]\r\n]{0,12}\]|\*{2,} ?spam ?\*{2,}|=\?[^?]{1,20}\?B\?W1NQQU1dIA==\?=))+`)

// Strip takes the fields away that others' filters and mailboxes wrote into a message, the word that they put before its
// subject, and the line "From " of an mbox above it. The rest stays as it is, octet for octet.
func Strip(b []byte) []byte {
	out, drop := make([]byte, 0, len(b)), false
	for rest, first := b, true; len(rest) > 0; first = false {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line = rest[:i+1]
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return append(out, rest...)
		}
		rest = rest[len(line):]
		if line[0] != ' ' && line[0] != '\t' {
			name, _, ok := bytes.Cut(line, []byte(":"))
			drop = ok && Stripped(string(bytes.TrimRight(name, " \t"))) ||
				first && (bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From ")))
		}
		if !drop {
			out = append(out, tagged.ReplaceAll(line, []byte("$1"))...)
		}
	}
	return out
}

// returnPath gives the reverse-path out of the first Return-Path field. ok is false where there is none, or one that is no path.
func returnPath(b []byte) (from mail.Address, ok bool) {
	for len(b) > 0 {
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line = b[:i+1]
		}
		b = b[len(line):]
		name, value, found := bytes.Cut(line, []byte(":"))
		if found && strings.EqualFold(strings.TrimRight(string(name), " \t"), "Return-Path") {
			path := strings.TrimSpace(string(value))
			if !strings.HasPrefix(path, "<") {
				path = "<" + path + ">"
			}
			from, err := mail.ParsePath(path)
			return from, err == nil
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
	}
	return from, false
}
