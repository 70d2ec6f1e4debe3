# Has the learner of Mail::SpamAssassin learn, and judge, without its rules: what it makes of a message, its tokens, does not depend
# on what was learned, and is kept. Counting is done here, in memory; tokens, probabilities and their combination are the program's.
#
#   perl spamassassin-bayes.pl RULES SITE STATE TOKENS
#
# Reads a command a line, and answers each with a line:
#   spam FILE         learns; "1" when it was taken, "0" when it is known
#   ham FILE
#   bayes FILE        what the learner adds to the score, by the rules BAYES_*, and the probability
#   tokens FILE       how many there are
# STATE is a folder for its files, TOKENS the one where tokens are kept.
use strict;
use warnings;
use Mail::SpamAssassin;
use Mail::SpamAssassin::PerMsgStatus;
use Mail::SpamAssassin::Bayes::CombineChi;

my ($rules, $site, $state, $kept) = @ARGV;
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
my ($bayes) = grep { ref eq 'Mail::SpamAssassin::Plugin::Bayes' } @{ $sa->{plugins}->{plugins} };
$bayes->{store}->tie_db_writable; # the tokens' form is asked of it

# look gives the names by which a message is known, and its tokens, five octets each.
sub look {
	my ($file) = @_;
	my ($name) = $file =~ m{([^/]+)$};
	if (open my $in, '<:raw', "$kept/$name") {
		local $/;
		my ($first, $second, $tokens) = split /\n/, <$in>, 3;
		return ([$first, $second], [ unpack '(a5)*', $tokens ]);
	}
	open my $in, '<:raw', $file or die "$file: $!";
	my $text = do { local $/; <$in> };
	my $mail = $sa->parse(\$text, 0);
	my $status = Mail::SpamAssassin::PerMsgStatus->new($sa, $mail);
	$status->extract_message_metadata;
	my @ids = map { my $id = $_ // ''; $id =~ s/\n/ /g; $id } $mail->generate_msgid, $mail->get_msgid;
	my @tokens = sort keys %{ $bayes->tokenize($mail, $bayes->_get_msgdata_from_permsgstatus($status)) };
	$status->finish;
	$mail->finish;
	open my $out, '>:raw', "$kept/$name.$$" or die "$kept/$name: $!";
	print $out "$ids[0]\n$ids[1]\n", @tokens;
	close $out or die "$kept/$name: $!";
	rename "$kept/$name.$$", "$kept/$name" or die "$kept/$name: $!";
	return (\@ids, \@tokens);
}

my (%spam, %ham, %seen);
my ($nspam, $nham) = (0, 0);

sub learn {
	my ($file, $isspam) = @_;
	my ($ids, $tokens) = look($file);
	for my $id (@$ids) {
		return 0 if $id ne '' && $seen{$id};
	}
	$seen{$_} = 1 for grep { $_ ne '' } $ids->[0];
	my $count = $isspam ? \%spam : \%ham;
	$count->{$_}++ for @$tokens;
	$isspam ? $nspam++ : $nham++;
	return 1;
}

# probability is what the plugin's own scan does with the counts: the strongest 150 tokens, none that says next to nothing.
sub probability {
	my ($tokens) = @_;
	return if $nspam < $conf->{bayes_min_spam_num} || $nham < $conf->{bayes_min_ham_num};
	my @data = map { [ $_, $spam{$_} // 0, $ham{$_} // 0, 0 ] } grep { exists $spam{$_} || exists $ham{$_} } @$tokens;
	return if !@data;
	my $all = $bayes->_compute_prob_for_all_tokens(\@data, $nspam, $nham);
	my @strong = sort { abs($b - 0.5) <=> abs($a - 0.5) } grep { defined } @$all;
	$#strong = 149 if @strong > 150;
	@strong = grep { abs($_ - 0.5) >= $Mail::SpamAssassin::Bayes::Combine::MIN_PROB_STRENGTH } @strong;
	my $least = Mail::SpamAssassin::Plugin::Bayes::REQUIRE_SIGNIFICANT_TOKENS_TO_SCORE();
	return if !@strong || $least > 0 && $#strong <= $least;
	return Mail::SpamAssassin::Bayes::Combine::combine($nspam, $nham, \@strong);
}

# The rules of 23_bayes.cf, each a range of the probability, of which BAYES_999 comes on top of BAYES_99.
my @ranges = ([ 0, 0.01, 'BAYES_00' ], [ 0.01, 0.05, 'BAYES_05' ], [ 0.05, 0.20, 'BAYES_20' ], [ 0.20, 0.40, 'BAYES_40' ],
	[ 0.40, 0.60, 'BAYES_50' ], [ 0.60, 0.80, 'BAYES_60' ], [ 0.80, 0.95, 'BAYES_80' ], [ 0.95, 0.99, 'BAYES_95' ],
	[ 0.99, 1.00, 'BAYES_99' ], [ 0.999, 1.00, 'BAYES_999' ]);

$| = 1;
while (my $line = <STDIN>) {
	chomp $line;
	my ($verb, $file) = split / /, $line, 2;
	if ($verb eq 'spam' || $verb eq 'ham') {
		print learn($file, $verb eq 'spam'), "\n";
	} elsif ($verb eq 'tokens') {
		my (undef, $tokens) = look($file);
		print scalar(@$tokens), "\n";
	} elsif ($verb eq 'bayes') {
		my (undef, $tokens) = look($file);
		my $p = probability($tokens);
		my $score = 0;
		for my $r (defined $p ? @ranges : ()) {
			my ($from, $to, $name) = @$r;
			$score += $conf->{scoreset}->[2]->{$name} // 0 if ($from == 0 || $p > $from) && $p <= $to;
		}
		printf "%.3f %s\n", $score, defined $p ? sprintf('%.6f', $p) : '-';
	}
}
