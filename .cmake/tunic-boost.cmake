# SPDX-License-Identifier: BSL-1.0
# Makes the target Boost::headers known, from the first of: a target that exists already, Boost's
# own CMake package, a search for the headers. Leaves it undefined when none has Boost 1.81 or
# later; then tunic_boost_hint says what to do. Used by the project itself and by its installed
# package.

set(tunic_boost_hint "tunic needs the headers of Boost 1.81 or later. Install them (Debian 12: \
apt-get install libboost1.81-dev), or say where they are with -DBoost_ROOT=...")

if(NOT TARGET Boost::headers)
  find_package(Boost 1.81 CONFIG QUIET)
endif()

if(NOT TARGET Boost::headers)
  find_path(tunic_BOOST_INCLUDE_DIR boost/version.hpp
    HINTS ${Boost_INCLUDE_DIR} ${Boost_ROOT} ENV Boost_ROOT ENV BOOST_ROOT PATH_SUFFIXES include
    DOC "Directory that holds boost/version.hpp")
  mark_as_advanced(tunic_BOOST_INCLUDE_DIR)
  if(tunic_BOOST_INCLUDE_DIR)
    file(STRINGS ${tunic_BOOST_INCLUDE_DIR}/boost/version.hpp tunic_boost_version
      REGEX "^#define BOOST_VERSION [0-9]+")
    string(REGEX MATCH "[0-9]+" tunic_boost_version "${tunic_boost_version}")
    if(tunic_boost_version GREATER_EQUAL 108100)
      add_library(Boost::headers INTERFACE IMPORTED)
      target_include_directories(Boost::headers INTERFACE ${tunic_BOOST_INCLUDE_DIR})
    else()
      string(APPEND tunic_boost_hint " (${tunic_BOOST_INCLUDE_DIR} has ${tunic_boost_version})")
      unset(tunic_BOOST_INCLUDE_DIR CACHE)
    endif()
    unset(tunic_boost_version)
  endif()
endif()
