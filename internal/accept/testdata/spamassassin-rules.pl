# Runs Mail::SpamAssassin over many messages in one process, without the network.
#
#   perl spamassassin.pl RULES SITE STATE
#
# Reads a command a line, and answers each with a line:
#   rules FILE        the score of all rules but those of the learner, in the score set that goes with one, and their names
#   spam FILE         learns; "1" when it was taken
#   ham FILE
#   synced            writes what was learned, for bayes to see
#   bayes FILE        what the learner adds to the score: that of its BAYES_ rule
# STATE is a folder for the learner's files.
use strict;
use warnings;
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;

my ($rules, $site, $state) = @ARGV;
my $learned = 0;
{
	# Rules are asked with the score set of a site that has learned, whether it has yet or not.
	no warnings 'redefine';
	require Mail::SpamAssassin::Plugin::Bayes;
	my $scan = \&Mail::SpamAssassin::Plugin::Bayes::scan;
	my $available = \&Mail::SpamAssassin::Plugin::Bayes::learner_is_scan_available;
	*Mail::SpamAssassin::Plugin::Bayes::scan = sub { $learned ? $scan->(@_) : undef };
	*Mail::SpamAssassin::Plugin::Bayes::learner_is_scan_available = sub { $learned ? $available->(@_) : 1 };
}

my $sa = Mail::SpamAssassin->new({
	rules_filename     => $rules,
	site_rules_filename => $site,
	userprefs_filename => "$state/user_prefs",
	userstate_dir      => $state,
	home_dir_for_helpers => $state,
	dont_copy_prefs    => 1,
	local_tests_only   => 1,
	post_config_text   => "use_bayes 1\nuse_bayes_rules 1\nbayes_auto_learn 0\nbayes_auto_expire 0\nbayes_path $state/bayes\n"
		. "bayes_store_module Mail::SpamAssassin::BayesStore::DBM\nuse_auto_welcomelist 0\n",
});
$sa->init(1);
my $conf = $sa->{conf};

sub message {
	my ($file) = @_;
	open my $in, '<:raw', $file or die "$file: $!";
	local $/;
	my $text = <$in>;
	return $sa->parse(\$text, 0);
}

$| = 1;
while (my $line = <STDIN>) {
	chomp $line;
	my ($verb, $file) = split / /, $line, 2;
	if ($verb eq 'rules') {
		my $mail = message($file);
		my $status = $sa->check($mail);
		my ($sum, @names) = (0);
		for my $name (@{ $status->{test_names_hit} }) {
			next if $name =~ /^BAYES_/;
			push @names, $name;
			$sum += $conf->{scoreset}->[2]->{$name} // 0;
		}
		printf "%.3f %s\n", $sum, join ',', sort @names;
		$status->finish;
		$mail->finish;
	} elsif ($verb eq 'spam' || $verb eq 'ham') {
		my $mail = message($file);
		my $status = $sa->learn($mail, undef, $verb eq 'spam' ? 1 : 0, 0);
		print $status->did_learn ? "1\n" : "0\n";
		$status->finish;
		$mail->finish;
	} elsif ($verb eq 'synced') {
		$sa->rebuild_learner_caches({ verbose => 0, showdots => 0 });
		$sa->finish_learner;
		$learned = 1;
		print "1\n";
	} elsif ($verb eq 'bayes') {
		my $mail = message($file);
		my $status = Mail::SpamAssassin::PerMsgStatus->new($sa, $mail);
		$status->extract_message_metadata;
		my $p = (grep { ref eq 'Mail::SpamAssassin::Plugin::Bayes' } @{ $sa->{plugins}->{plugins} })[0]->scan($status, $mail);
		my $score = 0;
		if (defined $p) {
			# The rules of 23_bayes.cf, each a range of the probability, of which BAYES_999 comes on top of BAYES_99.
			my @ranges = ([ 0, 0.01, 'BAYES_00' ], [ 0.01, 0.05, 'BAYES_05' ], [ 0.05, 0.20, 'BAYES_20' ], [ 0.20, 0.40, 'BAYES_40' ],
				[ 0.40, 0.60, 'BAYES_50' ], [ 0.60, 0.80, 'BAYES_60' ], [ 0.80, 0.95, 'BAYES_80' ], [ 0.95, 0.99, 'BAYES_95' ],
				[ 0.99, 1.00, 'BAYES_99' ], [ 0.999, 1.00, 'BAYES_999' ]);
			for my $r (@ranges) {
				my ($from, $to, $name) = @$r;
				$score += $conf->{scoreset}->[2]->{$name} // 0 if ($from == 0 || $p > $from) && $p <= $to;
			}
		}
		printf "%.3f %s\n", $score, defined $p ? sprintf('%.6f', $p) : '-';
		$status->finish;
		$mail->finish;
	}
}
