package edge

import "github.com/postern-mail/postern/mail"

// OwnReject is a refusal in our own words: where, and why.
type OwnReject struct {
	Stage  string
	Reason string
	Reply  mail.Reply
}

// OwnRejects lists what we refuse and put off in our own words, without soft_bounce: every one of Reasons, at each of Stages
// where it occurs. What filters propose and the next servers say may have other codes.
func OwnRejects() (all []OwnReject) {
	at := func(stage, reason string, replies ...mail.Reply) {
		for _, r := range replies {
			all = append(all, OwnReject{stage, reason, r})
		}
	}
	code := func(code, class, subject, detail int) mail.Reply {
		return mail.NewReply(code, class, subject, detail, "")
	}
	refused, failed, deferred := code(550, 5, 7, 1), code(554, 5, 7, 1), code(451, 4, 3, 0)
	at(StageHelo, ReasonFilter, refused, failed, deferred)
	at(StageMail, ReasonFilter, refused, failed, deferred)
	at(StageMail, ReasonSequence, replySequence)
	at(StageMail, ReasonLogin, replyAuthGone)
	at(StageMail, ReasonAddress, replySender)
	at(StageMail, ReasonUTF8, replyMailUTF8)
	at(StageMail, ReasonBusy, replyBusy)
	at(StageMail, ReasonTLS, replyNeedsTLS, replyNeedsCertificate)
	at(StageMail, ReasonSender, replyNotYours)
	at(StageRcpt, ReasonFilter, refused, failed, deferred)
	at(StageRcpt, ReasonSequence, replyLocal)
	at(StageRcpt, ReasonAddress, replyRecipient)
	at(StageRcpt, ReasonUTF8, replyRcptUTF8)
	at(StageRcpt, ReasonRecipients, replyRecipients)
	at(StageRcpt, ReasonStorage, replyFull)
	at(StageRcpt, ReasonSize, replyTooBigHere)
	at(StageRcpt, ReasonSplit, replySplit)
	at(StageRcpt, ReasonConfig, replyConfig, replyLocal)
	at(StageRcpt, ReasonRelay, replyRelay, replyRouted)
	at(StageRcpt, ReasonDirectory, replyDirectory)
	at(StageRcpt, ReasonUnknown, replyUnknown)
	at(StageRcpt, ReasonUpstream, code(550, 5, 1, 1))
	at(StageEOD, ReasonFilter, refused, failed, deferred)
	at(StageEOD, ReasonSize, replyTooBig)
	at(StageEOD, ReasonTimeout, replyTimeout)
	at(StageEOD, ReasonLost, replyLost, replyClosing)
	at(StageEOD, ReasonBusy, replyBusy)
	at(StageEOD, ReasonStorage, replyFull, replyLocal)
	at(StageEOD, ReasonPanic, replyPanic, replyPanicEnd)
	at(StageEOD, ReasonRewrite, replyLocal)
	at(StageEOD, ReasonSigning, replyLocal)
	at(StageEOD, ReasonQuarantine, HeldReply(QuarantineReject, ""))
	at(StageEOD, ReasonUpstream, code(451, 4, 3, 0), code(451, 4, 4, 0), code(451, 4, 4, 1), code(451, 4, 4, 2), code(452, 4, 3, 1), code(451, 4, 7, 0))
	return all
}
