# The base: Debian's linux-source-6.1, read by pipeline/fetch. What does not have
# this version and these hashes stops the build; when Debian no longer offers
# it, BASE_ANY=1 takes the newest 6.1.y instead.
BASE_PACKAGE=linux-source-6.1
BASE_VERSION=6.1.192-2
BASE_DEB_SHA256=ae95fe63d4c553f8d0e6c86cb1ab566f3894a43743eb19ab585cd97d82f26514
BASE_TAR_SHA256=4d415b3d364834fd818270e88813e90323bbfce4f519a0e6bd4940ddcd7df693

# The peer that make bench compares with: guest_memfd as Linux has it since 6.8.
PEER_PACKAGE=linux-source-6.12
PEER_VERSION=6.12.117-1~deb12u1
PEER_DEB_SHA256=e849faf31ca3555757f3a8877cb01af92122f744f75d1f3102734651c4e14703
PEER_TAR_SHA256=585a4a074597aefa2b1a68ada83a3184ba351c127544dea80618bbcceaa3961f
