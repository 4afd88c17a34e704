# SPDX-License-Identifier: BSL-1.0
# find_package(tunic) defines the target tunic::tunic.

include(${CMAKE_CURRENT_LIST_DIR}/tunic-boost.cmake)
if(TARGET Boost::headers)
  include(${CMAKE_CURRENT_LIST_DIR}/tunic-targets.cmake)
else()
  set(tunic_FOUND FALSE)
  set(tunic_NOT_FOUND_MESSAGE ${tunic_boost_hint})
endif()
